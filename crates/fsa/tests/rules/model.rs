//! Random sequences of operations against the models of [`byte_driven`](crate::byte_driven).

use proptest::prelude::*;

use crate::byte_driven;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn content_and_allocation_agree_with_the_models(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        byte_driven::run(&data);
    }
}
