//! Grants of every kind are live at once on a host, are seen to be, and are seen to be gone: what tests of faults stand on.
//!
//! One of every kind by default; with `JITSUDO_SWEEP=all` none and fifty as well.

use jitsudo_tests::live::{self, KINDS, Live};
use jitsudo_tests::story::installed_host;
use jitsudo_tests::{Stopwatch, package_file};

#[test]
fn grants_of_every_kind_are_live_together_and_each_is_missed_when_it_is_gone() {
    let host = package_file().and_then(|package| installed_host("live", "bookworm", &package));
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    live::prepare(&host, "").unwrap();
    let all = std::env::var("JITSUDO_SWEEP").is_ok_and(|which| which == "all");
    for count in if all { vec![0, KINDS, 50] } else { vec![KINDS] } {
        let watch = Stopwatch::start();
        let live = Live::make(&host, count).unwrap_or_else(|error| panic!("{error}"));
        println!("{count} live grants made in {:?}", watch.elapsed());
        assert_eq!((live.count(), live.gone(&host).unwrap()), (count, Vec::new()));
        let sound = live::is_sound(&host).unwrap_or_else(|error| panic!("{error}"));
        println!(
            "{count} live grants: the daemon answered after {:?}, a command ran after {:?}",
            sound.answered, sound.ran
        );
        // One of each kind is ended behind the back: exactly those are missed.
        let ended: Vec<String> = live.ids().into_iter().take(KINDS).collect();
        for id in &ended {
            host.run(&["jitctl", "end", id]).ok().unwrap();
        }
        let missed = || live.gone(&host).unwrap();
        let is_theirs =
            || missed().len() == ended.len() && missed().iter().zip(&ended).all(|(line, id)| line.starts_with(id));
        assert!(
            jitsudo_tests::wait_until(std::time::Duration::from_secs(20), is_theirs),
            "{:?} of {ended:?}",
            missed()
        );
        let watch = Stopwatch::start();
        live.end(&host).unwrap_or_else(|error| panic!("{error}"));
        println!("{count} live grants ended in {:?}", watch.elapsed());
        live::is_sound(&host).unwrap_or_else(|error| panic!("{error}"));
    }
}
