//! The fuzzer's oracle on seeded input, so that it is asked on every test run.

use nbd::protocol::{BASE_ALLOCATION, OPTION_MAGIC};

use crate::client::{go, meta_query};
use crate::oracle;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 40) as u8).collect()
    }
}

#[test]
fn law5_random_requests_are_answered_as_a_byte_array_would() {
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let len = random.below(2000);
        let input = random.bytes(len);
        let result = std::panic::catch_unwind(|| oracle::requests(&input));
        assert!(result.is_ok(), "seed {seed}");
    }
}

#[test]
fn random_handshakes_are_answered_option_for_option() {
    for seed in 0..2000 {
        let mut random = Random::new(seed);
        let mut input = u32::try_from(random.below(5)).unwrap().max(1).to_be_bytes().to_vec();
        for _ in 0..random.below(12) {
            let magic = OPTION_MAGIC ^ u64::from(random.below(40) == 0);
            let option =
                u32::try_from(if random.below(8) == 0 { random.next() >> 32 } else { random.below(13) }).unwrap();
            let names = ["", "disk", "other"];
            let name = names[random.below(3) as usize];
            let mut data = match random.below(6) {
                0 | 1 => vec![],
                2 => go(name, &[0, 1, 2, 3, 9][..random.below(6) as usize]),
                3 => meta_query(name, &[BASE_ALLOCATION, "base:", "x-y:z"][..random.below(4) as usize]),
                4 => name.as_bytes().to_vec(),
                _ => {
                    let len = if random.below(4) == 0 { 9000 } else { random.below(40) };
                    random.bytes(len)
                }
            };
            if random.below(6) == 0 {
                data.truncate(random.below(data.len() as u64 + 1) as usize);
            }
            input.extend(magic.to_be_bytes());
            input.extend(option.to_be_bytes());
            input.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
            input.extend(data);
        }
        input.truncate(input.len() - (random.below(4) * random.below(20)).min(input.len() as u64) as usize);
        let result = std::panic::catch_unwind(|| oracle::handshake(&input));
        assert!(result.is_ok(), "seed {seed}");
    }
}
