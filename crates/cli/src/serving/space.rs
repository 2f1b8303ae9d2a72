//! What the log hears of the host's space.

use std::sync::{Mutex, PoisonError};

use block_device::SpaceNews;

use crate::size::{Bytes, Exact};

/// Tells of the host's space as it gets worse, a level at a time, and when there is enough again: a host that stays about
/// the floor would have something to tell with every write.
#[derive(Debug, Default)]
pub(super) struct Herald(Mutex<Level>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    #[default]
    Enough,
    Low,
    Refusing,
}

impl Herald {
    /// Hears news, and passes them on if they are.
    pub(super) fn hear(&self, news: SpaceNews) {
        if !self.is_news(news) {
            return;
        }
        match news {
            SpaceNews::Low { free_bytes, floor_bytes } => tracing::warn!(
                "the host has {} left; from {} on writes that need new space are refused",
                Exact(free_bytes),
                Bytes(floor_bytes)
            ),
            SpaceNews::Refusing { free_bytes, floor_bytes } => tracing::warn!(
                "writes that need new space are refused: the host has {} left, and {} are kept free",
                Exact(free_bytes),
                Bytes(floor_bytes)
            ),
            SpaceNews::Enough { free_bytes, .. } => {
                tracing::warn!("the host has space again: {}", Exact(free_bytes));
            }
        }
    }

    fn is_news(&self, news: SpaceNews) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (level, is_news) = match news {
            SpaceNews::Low { .. } => (Level::Low, Level::Low > *told),
            SpaceNews::Refusing { .. } => (Level::Refusing, Level::Refusing > *told),
            // More than just enough, or it would be low again soon.
            SpaceNews::Enough { free_bytes, floor_bytes } => {
                let is_more = free_bytes / 9 >= floor_bytes / 4;
                (Level::Enough, is_more && *told > Level::Enough)
            }
        };
        if is_news {
            *told = level;
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_to_and_fro_is_told_once() {
        let herald = Herald::default();
        let floor_bytes = 1 << 30;
        let low = SpaceNews::Low { free_bytes: floor_bytes + 1, floor_bytes };
        let refusing = SpaceNews::Refusing { free_bytes: floor_bytes, floor_bytes };
        let just_enough = SpaceNews::Enough { free_bytes: 2 * floor_bytes, floor_bytes };
        let enough = SpaceNews::Enough { free_bytes: 3 * floor_bytes, floor_bytes };
        let heard =
            [enough, low, just_enough, low, refusing, low, refusing, just_enough, refusing, enough, enough, low];
        let told: Vec<_> = heard.into_iter().filter(|&news| herald.is_news(news)).collect();
        assert_eq!(told, [low, refusing, enough, low]);
    }
}
