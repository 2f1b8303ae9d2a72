//! Detaching: politely, by force, in the middle of requests, by several at once.

use std::os::windows::fs::FileExt;
use std::path::Path;

use disk_types::ErrorKind;

use crate::machine::{Image, MIB, Random, attach, dense, driver_is_loaded};
use crate::sys::InFlight;

#[test]
fn a_drive_that_somebody_has_open_is_in_use_and_goes_when_it_is_closed() {
    if !driver_is_loaded() {
        return;
    }
    let drive = Image::new(MIB).drive();
    let file = drive.open();
    let error = attach::detach(&drive.attached.device).expect_err("in use");
    assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
    assert!(error.to_string().contains("--force"), "{error}");
    file.seek_write(&[1; 512], 0).expect("a refused detach changes nothing");
    assert!(drive.listed().is_some());
    drop(file);
    assert_eq!(drive.detach().bytes()[..512], [1; 512]);
}

#[test]
fn by_force_a_drive_goes_and_open_handles_fail_from_then_on() {
    if !driver_is_loaded() {
        return;
    }
    let drive = Image::new(MIB).drive();
    let file = drive.open();
    file.seek_write(&[2; 512], 512).expect("a write");
    let detached = attach::detach_forced(&drive.attached.device).expect("detach");
    assert_eq!(detached.device, drive.attached.device);
    assert!(file.seek_write(&[3; 512], 512).is_err());
    assert!(file.seek_read(&mut [0; 512], 512).is_err());
    assert!(file.sync_all().is_err());
    assert_eq!(drive.listed(), None);
    // The image is free at once, though the handle is still open.
    assert_eq!(drive.image.bytes()[512..1024], [2; 512]);
    let again = drive.image.attach(&dense()).expect("attach again");
    assert!(file.seek_read(&mut [0; 512], 512).is_err(), "the old handle is not one of the new drive");
    drop(file);
    attach::detach(&again.device).expect("detach");
}

#[test]
fn a_detach_in_the_middle_of_requests_completes_every_one_of_them() {
    if !driver_is_loaded() {
        return;
    }
    for round in 0..20 {
        let drive = Image::new(4 * MIB).drive();
        let file = drive.open_overlapped();
        let mut random = Random(0x5EED_0010 + round);
        let requests: Vec<_> = (0..64_u64)
            .map(|number| {
                let byte = number as u8 + 1;
                let offset = number * 64 * 1024;
                // Every fourth reads what another wrote before.
                if random.below(4) == 0 {
                    (InFlight::read(&file, offset, 4096), None)
                } else {
                    (InFlight::write(&file, offset, vec![byte; 4096]), Some((offset as usize, byte)))
                }
            })
            .collect();
        attach::detach_forced(&drive.attached.device).expect("detach");
        let mut kept = Vec::new();
        for (request, written) in requests {
            match (request.wait(), written) {
                (Ok((_, len)), Some(written)) => {
                    assert_eq!(len, 4096);
                    kept.push(written);
                }
                (Ok((_, len)), None) => assert_eq!(len, 4096),
                (Err(_), _) => {}
            }
        }
        let bytes = drive.image.bytes();
        for (offset, byte) in kept {
            let there = bytes[offset..offset + 4096].iter().all(|&found| found == byte);
            assert!(there, "round {round}: a write that succeeded is not in the image, at {offset}");
        }
    }
}

#[test]
fn cancelled_requests_end_and_the_drive_goes_on() {
    if !driver_is_loaded() {
        return;
    }
    let drive = Image::new(8 * MIB).drive();
    let file = drive.open_overlapped();
    for round in 0..50_u64 {
        let requests: Vec<_> = (0..16_u64)
            .map(|number| InFlight::write(&file, number * 512 * 1024, vec![round as u8; 256 << 10]))
            .collect();
        requests.iter().skip(1).step_by(2).for_each(InFlight::cancel);
        for (number, request) in requests.into_iter().enumerate() {
            let outcome = request.wait();
            assert!(outcome.is_ok() || number % 2 == 1, "round {round}: {number} was not cancelled: {outcome:?}");
        }
    }
    // Those that are dropped are cancelled, too.
    drop((0..16_u64).map(|number| InFlight::read(&file, number * 4096, 4096)).collect::<Vec<_>>());
    let (bytes, _) = InFlight::read(&file, 0, 256 << 10).wait().expect("a read");
    assert!(bytes.iter().all(|&byte| byte == 49), "the last of those that nobody cancelled");
    drop(file);
    drive.detach();
}

#[test]
fn of_several_who_detach_one_drive_one_does_and_the_others_find_it_gone() {
    if !driver_is_loaded() {
        return;
    }
    for _ in 0..20 {
        let drive = Image::new(MIB).drive();
        let device = &drive.attached.device;
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| attach::detach_forced(device))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
        for error in results.into_iter().filter_map(Result::err) {
            assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Refused), "{error}");
        }
    }
}

#[test]
fn detach_takes_the_image_the_letter_the_root_and_the_device() {
    if !driver_is_loaded() {
        return;
    }
    let image = Image::new(MIB);
    let crooked = image.directory.path().join("x").join("..").join("DISK.IMG");
    std::fs::create_dir(image.directory.path().join("x")).expect("a directory");
    for name in 0..6 {
        let attached = image.attach(&dense()).expect("attach");
        let letter = attached.device.to_str().expect("a letter").to_owned();
        let by = match name {
            0 => image.path.clone(),
            1 => letter.into(),
            2 => letter.to_lowercase().into(),
            3 => attached.mounted_at[0].clone(),
            4 => format!(r"\\.\{letter}").into(),
            _ => crooked.clone(),
        };
        let detached = attach::detach(&by).unwrap_or_else(|error| panic!("{}: {error}", by.display()));
        assert_eq!(detached.image, attached.image);
    }
    let refused = |target: &Path| attach::detach(target).expect_err("nothing to detach").kind();
    assert_eq!(refused(&image.path), ErrorKind::Refused);
    assert_eq!(refused(Path::new("C:")), ErrorKind::Refused);
    assert_eq!(refused(Path::new(r"\Device\SparseDisk63")), ErrorKind::Refused);
    assert_eq!(refused(&image.directory.path().join("missing.img")), ErrorKind::NotFound);
}

#[test]
fn many_images_attached_at_once_get_a_letter_each() {
    if !driver_is_loaded() {
        return;
    }
    let images: Vec<_> = (0..6).map(|_| Image::new(MIB)).collect();
    let attached: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            images.iter().map(|image| scope.spawn(|| attach(&image.path, &dense()).expect("attach"))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut devices: Vec<_> = attached.iter().map(|attached| attached.device.clone()).collect();
    devices.sort();
    devices.dedup();
    assert_eq!(devices.len(), images.len());
    for (attached, image) in attached.iter().zip(&images) {
        assert_eq!(attach::find(&image.path).expect("find").expect("attached").device, attached.device);
        attach::detach(&attached.device).expect("detach");
    }
}
