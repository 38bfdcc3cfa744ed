//! Steps of the clocks, for a build for tests alone: a container may set no clock.
//!
//! `/run/jitsudo-clock` holds `WALL_SECONDS BOOT_SECONDS`, two signed numbers that are added to what the kernel says, at the next look
//! at a clock. Nothing is told of a change: whoever is to notice a step does so because it looks at the clock anyway, as on a host where somebody set
//! the clock, or that slept (a poll(2) does not wake early for either).
//!
//! MUST: only root can order a step (`file_of_anybody_else_orders_no_step`).

use std::path::Path;

const ORDER: &str = "/run/jitsudo-clock";
const MAX_BYTES: u64 = 64;

/// Seconds that the clocks were set forward; negative: back.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Steps {
    pub(super) wall: i64,
    pub(super) boot: i64,
}

/// What the file orders; no step where it is absent, is anybody else's, or makes no sense.
pub(super) fn ordered() -> Steps {
    read(Path::new(ORDER))
}

fn read(path: &Path) -> Steps {
    let order = crate::trusted::read(path, MAX_BYTES).ok().flatten().unwrap_or_default();
    parse(&String::from_utf8_lossy(&order)).unwrap_or_default()
}

fn parse(order: &str) -> Option<Steps> {
    let mut words = order.split_whitespace().map(str::parse::<i64>);
    match (words.next(), words.next(), words.next()) {
        (Some(Ok(wall)), Some(Ok(boot)), None) => Some(Steps { wall, boot }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_two_numbers() {
        assert_eq!(parse("-315360000 7200\n"), Some(Steps { wall: -315_360_000, boot: 7200 }));
        assert!(["", "1", "1 2 3", "1 x", "nan 0"].iter().all(|order| parse(order).is_none()));
    }

    #[test]
    fn file_of_anybody_else_orders_no_step() {
        let path = std::env::temp_dir().join(format!("jitsudo-clock-{}", std::process::id()));
        std::fs::write(&path, "5 7").unwrap();
        let mode = |bits| std::os::unix::fs::PermissionsExt::from_mode(bits);
        std::fs::set_permissions(&path, mode(0o644)).unwrap();
        assert_eq!(read(&path), Steps { wall: 5, boot: 7 });
        std::fs::set_permissions(&path, mode(0o666)).unwrap();
        assert_eq!(read(&path), Steps::default());
        std::fs::remove_file(&path).unwrap();
    }
}
