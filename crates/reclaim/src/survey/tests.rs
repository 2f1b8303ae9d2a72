use block_device::{Durability, MemoryDisk};
use volume::{FileSystem, Partition, PartitionTable};

use super::*;
use crate::carry_out::Freeing;

const MIB: u64 = 1 << 20;

fn range(start: u64, end: u64) -> ByteRange {
    ByteRange::new(start, end).unwrap()
}

/// 16 MiB of data, but for zeroes from 1 MiB to 2 MiB.
fn disk() -> Disk {
    let disk = Disk::new(MemoryDisk::new(16 * MIB)).unwrap();
    disk.write(0, &vec![1; 16 << 20], Durability::Cached).unwrap();
    disk.write(MIB, &vec![0; 1 << 20], Durability::Cached).unwrap();
    disk
}

fn contents(parts: &[(ByteRange, Option<FileSystem>)]) -> Contents {
    let number = |at: usize| u32::try_from(at).unwrap() + 1;
    let partition = |(at, (range, _)): (usize, &(ByteRange, _))| Partition {
        number: number(at),
        range: *range,
        type_name: "anything".to_owned(),
        label: None,
    };
    let volume = |(at, (range, file_system)): (usize, &(ByteRange, Option<FileSystem>))| {
        let partition = Some(number(at));
        file_system.map(|file_system| Volume { range: *range, partition, file_system, label: None, free_bytes: None })
    };
    Contents {
        table: Some(PartitionTable {
            kind: TableKind::Mbr,
            partitions: parts.iter().enumerate().map(partition).collect(),
        }),
        volumes: parts.iter().enumerate().filter_map(volume).collect(),
        warnings: Vec::new(),
    }
}

fn fat(start: u64, end: u64) -> (ByteRange, Option<FileSystem>) {
    (range(start, end), Some(FileSystem::Fat32))
}

/// All of a volume but its first MiB is free.
fn mostly_free(volume: &Volume) -> Result<Runs<'static>> {
    Ok(Box::new(volume.range.after(volume.range.start() + MIB).map(Ok).into_iter()))
}

fn one_thread() -> Walk<'static> {
    Walk { threads: 1, freeing: None }
}

fn plan(contents: &Contents, open: &Open<'_>) -> Plan {
    plan_volumes(&disk(), contents, Ok(Vec::new()), open, one_thread(), &mut ()).unwrap()
}

#[test]
fn the_free_space_of_several_partitions_is_freed() {
    let plan = plan(&contents(&[fat(2 * MIB, 6 * MIB), fat(8 * MIB, 16 * MIB)]), &mostly_free);
    assert_eq!(plan.ranges, [range(MIB, 2 * MIB), range(3 * MIB, 6 * MIB), range(9 * MIB, 16 * MIB)]);
    assert_eq!((plan.zero_bytes, plan.free_space_bytes), (MIB, 10 * MIB));
    assert_eq!(plan.refused, []);
}

#[test]
fn a_volume_that_refuses_is_left_alone_and_its_zeroes_are_freed() {
    let open = |volume: &Volume| match volume.partition {
        Some(1) => Err(Error::new(ErrorKind::Refused, "trust").because("it is dirty").advise("run fsck.vfat")),
        _ => mostly_free(volume),
    };
    let plan = plan(&contents(&[fat(MIB / 2, 6 * MIB), fat(8 * MIB, 16 * MIB)]), &open);
    assert_eq!(plan.ranges, [range(MIB, 2 * MIB), range(9 * MIB, 16 * MIB)]);
    assert_eq!(plan.refused.len(), 1);
    let left = &plan.refused[0];
    assert_eq!((left.range, left.what.as_str()), (range(MIB / 2, 6 * MIB), "the FAT32 volume in partition 1"));
    assert!(left.why.contains("it is dirty"), "{}", left.why);
    assert_eq!(left.advice.as_deref(), Some("run fsck.vfat"));
}

#[test]
fn a_volume_that_fails_half_way_takes_back_what_it_said() {
    for wrong in
        [Err(Error::new(ErrorKind::Corrupt, "read the FAT")), Ok(range(3 * MIB, 4 * MIB)), Ok(range(5 * MIB, 7 * MIB))]
    {
        let wrong = std::cell::RefCell::new(Some(wrong));
        let open = |volume: &Volume| match volume.partition {
            Some(1) => {
                let runs = std::iter::once(Ok(range(3 * MIB, 5 * MIB))).chain(wrong.borrow_mut().take());
                Ok(Box::new(runs.collect::<Vec<_>>().into_iter()) as Runs<'_>)
            }
            _ => mostly_free(volume),
        };
        let plan = plan(&contents(&[fat(2 * MIB, 6 * MIB), fat(8 * MIB, 16 * MIB)]), &open);
        assert_eq!(plan.ranges, [range(MIB, 2 * MIB), range(9 * MIB, 16 * MIB)]);
        assert_eq!(plan.may_change(), [range(9 * MIB, 16 * MIB)]);
        assert_eq!((plan.refused.len(), plan.refused[0].range), (1, range(2 * MIB, 6 * MIB)));
    }
}

#[test]
fn a_host_that_fails_fails_the_plan() {
    let open = |_: &Volume| Err(Error::new(ErrorKind::Io, "read"));
    let error =
        plan_volumes(&disk(), &contents(&[fat(2 * MIB, 6 * MIB)]), Ok(Vec::new()), &open, one_thread(), &mut ())
            .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
}

#[test]
fn where_partitions_overlap_no_free_space_is_freed() {
    let plan = plan(&contents(&[fat(2 * MIB, 10 * MIB), fat(8 * MIB, 16 * MIB)]), &mostly_free);
    assert_eq!(plan.ranges, [range(MIB, 2 * MIB), range(3 * MIB, 8 * MIB), range(10 * MIB, 16 * MIB)]);
    assert_eq!((plan.refused.len(), plan.refused[0].range), (1, range(8 * MIB, 10 * MIB)));
    assert_eq!(plan.refused[0].what, "partition 1 and partition 2");
}

#[test]
fn a_partition_inside_another_and_the_table_itself_are_protected() {
    let unknown = (range(5 * MIB, 6 * MIB), None);
    let open = |volume: &Volume| -> Result<Runs<'static>> { Ok(Box::new(std::iter::once(Ok(volume.range)))) };
    let plan = plan(&contents(&[fat(0, 8 * MIB), unknown, (range(9 * MIB, 10 * MIB), None)]), &open);
    assert_eq!(plan.ranges, [range(4096, 5 * MIB), range(6 * MIB, 8 * MIB)]);
    assert!(plan.may_change().iter().all(|free| free.start() >= 512), "the boot record is nobody's free space");
    let ranges: Vec<_> = plan.refused.iter().map(|left| left.range).collect();
    assert_eq!(ranges, [range(0, 512), range(5 * MIB, 6 * MIB), range(5 * MIB, 6 * MIB), range(9 * MIB, 10 * MIB)]);
}

#[test]
fn both_copies_of_a_gpt_are_protected() {
    let mut contents = contents(&[fat(0, 16 * MIB)]);
    contents.table.as_mut().unwrap().kind = TableKind::Gpt;
    let open = |volume: &Volume| -> Result<Runs<'static>> { Ok(Box::new(std::iter::once(Ok(volume.range)))) };
    let plan = plan(&contents, &open);
    // 34 blocks at the start, 33 at the end.
    let kept = range(34 * 512, 16 * MIB - 33 * 512);
    assert!(plan.may_change().iter().all(|free| kept.contains(*free)), "{:?}", plan.may_change());
    assert_eq!(plan.refused.len(), 2);
}

#[test]
fn shared_ranges_are_found_where_three_lie_on_each_other() {
    let name = |start, end| (range(start, end), format!("{start}"));
    let claims = [name(0, 100), name(20, 30), name(25, 40), name(90, 120), name(95, 97), name(130, 140)];
    let ranges: Vec<_> = shared(&claims).into_iter().map(|(range, _)| range).collect();
    assert_eq!(ranges, [range(20, 30), range(30, 40), range(90, 100)]);
}

#[test]
fn gaps_are_freed_beside_volumes_and_a_refusal_of_them_is_told() {
    let contents = contents(&[fat(2 * MIB, 6 * MIB), (range(8 * MIB, 9 * MIB), None)]);
    let gaps = vec![range(6 * MIB, 8 * MIB), range(9 * MIB, 10 * MIB)];
    let freed = plan_volumes(&disk(), &contents, Ok(gaps), &mostly_free, one_thread(), &mut ()).unwrap();
    assert_eq!(freed.ranges, [range(MIB, 2 * MIB), range(3 * MIB, 8 * MIB), range(9 * MIB, 10 * MIB)]);
    assert_eq!(freed.free_space_bytes, 6 * MIB);

    let refusal = Error::new(ErrorKind::Refused, "look for gaps").because("somebody uses them");
    let plan = plan_volumes(&disk(), &contents, Err(refusal), &mostly_free, one_thread(), &mut ()).unwrap();
    assert_eq!(plan.ranges, [range(MIB, 2 * MIB), range(3 * MIB, 6 * MIB)]);
    let told = plan.refused.iter().find(|left| left.what == "the gaps between the partitions").unwrap();
    assert_eq!((told.range, told.why.as_str()), (disk().range(), "somebody uses them"));
    let broken = Err(Error::new(ErrorKind::Io, "read"));
    assert_eq!(
        plan_volumes(&disk(), &contents, broken, &mostly_free, one_thread(), &mut ()).unwrap_err().kind(),
        ErrorKind::Io
    );
}

#[test]
fn a_volume_whose_free_runs_reach_into_a_gap_is_left_alone() {
    let contents = contents(&[fat(2 * MIB, 6 * MIB)]);
    let open = |volume: &Volume| match volume.partition {
        Some(1) => Ok(Box::new(std::iter::once(Ok(range(5 * MIB, 7 * MIB)))) as Runs<'_>),
        _ => mostly_free(volume),
    };
    let gaps = Ok(vec![range(6 * MIB, 8 * MIB)]);
    let plan = plan_volumes(&disk(), &contents, gaps, &open, one_thread(), &mut ()).unwrap();
    assert_eq!(plan.ranges, [range(MIB, 2 * MIB), range(6 * MIB, 8 * MIB)]);
    assert_eq!(plan.refused.len(), 1);
}

#[test]
fn zeroes_are_freed_and_counted_once_where_a_volume_turns_out_not_to_be_believed() {
    let disk = disk();
    let contents = contents(&[fat(2 * MIB, 6 * MIB), fat(8 * MIB, 16 * MIB)]);
    let open = |volume: &Volume| -> Result<Runs<'static>> {
        let late = Error::new(ErrorKind::Corrupt, "read").because("the second copy differs");
        let first = volume.range.after(volume.range.start() + MIB).unwrap();
        if volume.partition == Some(1) {
            Ok(Box::new([Ok(first)].into_iter()))
        } else {
            Ok(Box::new([Err(late)].into_iter()))
        }
    };
    let mut freeing = Freeing::of(&disk);
    let walk = Walk { threads: 1, freeing: Some(&mut freeing) };
    let plan = plan_volumes(&disk, &contents, Ok(Vec::new()), &open, walk, &mut ()).unwrap();
    assert_eq!(plan.refused.len(), 1);
    assert_eq!(plan.ranges, [range(3 * MIB, 6 * MIB)]);
    assert_eq!((freeing.zero_bytes, plan.zero_bytes, plan.free_space_bytes), (MIB, 0, 3 * MIB));
    assert_eq!(disk.allocated_bytes().unwrap(), 15 * MIB);
}
