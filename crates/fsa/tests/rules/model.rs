//! Random sequences of operations against the models of [`byte_driven`](crate::byte_driven). PROPTEST_CASES makes it longer.

use proptest::prelude::*;

use crate::byte_driven;

proptest! {
    #[test]
    fn content_and_allocation_agree_with_the_models(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        byte_driven::run(&data);
    }
}
