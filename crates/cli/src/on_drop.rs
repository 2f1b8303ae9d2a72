//! What is done at the end of a scope, whatever the end is.

/// Runs when it is dropped, also while a panic unwinds.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
