//! When a rule may start something: days and times of day in a zone.
//!
//! MUST: where a clock time does not exist or happens twice, an allow is open for less and a deny for more (`gap_*`, `fold_*`).

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use crate::pattern::Reading;

/// One entry of `hours`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hours {
    /// Bit 0 = Monday: the days on which it starts.
    pub(crate) days: u8,
    /// Minutes after midnight.
    pub(crate) start: u16,
    /// Minutes after midnight, at most 1440; not after `start` = on the next day.
    pub(crate) stop: u16,
    /// Place of the zone in the policy.
    pub(crate) zone: u32,
    /// What runs ends with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cut: bool,
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// How far ahead an opening is looked for.
const DAYS_AHEAD: u8 = 9;

impl Hours {
    /// `mon-fri 08:00-18:00 Europe/Paris`
    pub(crate) fn words(self, zone: &str) -> String {
        let clock = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        format!("{} {}-{} {zone}", days_in_words(self.days), clock(self.start), clock(self.stop))
    }

    /// The interval that starts on this local day, or nothing when the day is not named.
    fn on(self, date: Date, zone: &TimeZone, reading: Reading) -> Option<(Timestamp, Timestamp)> {
        let day = u8::try_from(date.weekday().to_monday_zero_offset()).ok()?;
        if self.days & (1 << day) == 0 {
            return None;
        }
        let stop_date = if self.stop <= self.start { date.tomorrow().ok()? } else { date };
        let (start, _) = instants(date, self.start, zone, reading)?;
        let (_, stop) = instants(stop_date, self.stop, zone, reading)?;
        (start < stop).then_some((start, stop))
    }

    /// Every interval that could hold `now`, and those that begin within the next days.
    fn around(self, zone: &TimeZone, now: Timestamp, reading: Reading, days: u8) -> Vec<(Timestamp, Timestamp)> {
        let mut date = zone.to_datetime(now).date();
        for _ in 0..2 {
            date = date.yesterday().unwrap_or(date);
        }
        let mut found = Vec::new();
        for _ in 0..days.saturating_add(4) {
            found.extend(self.on(date, zone, reading));
            let Ok(next) = date.tomorrow() else { break };
            date = next;
        }
        found
    }

    /// True when `now` lies within.
    pub(crate) fn is_open(self, zone: &TimeZone, now: Timestamp, reading: Reading) -> bool {
        self.around(zone, now, reading, 0).iter().any(|(start, stop)| *start <= now && now < *stop)
    }
}

/// The earliest and latest instant that a local clock time can mean, ordered so that the reading errs its way:
/// `.0` as a start, `.1` as a stop.
fn instants(date: Date, minutes: u16, zone: &TimeZone, reading: Reading) -> Option<(Timestamp, Timestamp)> {
    let (date, minutes) = if minutes >= 1440 { (date.tomorrow().ok()?, 0) } else { (date, minutes) };
    let time = Time::new(i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?, 0, 0).ok()?;
    let earlier = zone.to_ambiguous_timestamp(DateTime::from_parts(date, time)).earlier().ok()?;
    let later = zone.to_ambiguous_timestamp(DateTime::from_parts(date, time)).later().ok()?;
    Some(match reading {
        Reading::Allow => (later, earlier),
        Reading::Deny => (earlier, later),
    })
}

/// When the open hours around `now` end with `cut`; `None` when they are not cut (or not open).
pub(crate) fn cut_at(hours: &[Hours], zones: &[TimeZone], now: Timestamp) -> Option<Timestamp> {
    let mut intervals = Vec::new();
    for entry in hours {
        let zone = zones.get(usize::try_from(entry.zone).ok()?)?;
        let days = DAYS_AHEAD;
        intervals.extend(
            entry.around(zone, now, Reading::Allow, days).into_iter().map(|(start, stop)| (start, stop, entry.cut)),
        );
    }
    // What is over joins nothing, and least of all its being without a cut.
    intervals.retain(|(_, stop, _)| *stop > now);
    intervals.sort_unstable();
    let mut end: Option<Timestamp> = None;
    for (start, stop, cut) in intervals {
        let holds = start <= now && now < stop;
        let joins = end.is_some_and(|end| start <= end);
        if holds || joins {
            if !cut {
                return None;
            }
            end = Some(end.map_or(stop, |end| end.max(stop)));
        }
    }
    // A week without a gap has none: such hours never close, however far one looks.
    end.filter(|end| end.as_second().saturating_sub(now.as_second()) <= 7 * 86_400)
}

/// The next instant at which one of the hours opens.
pub(crate) fn opens_at(hours: &[Hours], zones: &[TimeZone], now: Timestamp) -> Option<Timestamp> {
    let intervals = hours.iter().filter_map(|entry| {
        let zone = zones.get(usize::try_from(entry.zone).ok()?)?;
        let later = entry.around(zone, now, Reading::Allow, DAYS_AHEAD);
        later.into_iter().map(|(start, _)| start).filter(|start| *start > now).min()
    });
    intervals.min()
}

/// `mon-fri`, `mon,wed`, `every day`.
fn days_in_words(days: u8) -> String {
    if days & 0x7f == 0x7f {
        return "every day".to_owned();
    }
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for day in (0..DAYS.len()).filter(|day| days & (1 << day) != 0) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == day => *last = day,
            _ => runs.push((day, day)),
        }
    }
    let name = |day: usize| DAYS.get(day).copied().unwrap_or("?");
    let words = runs.into_iter().map(|(first, last)| match last - first {
        0 => name(first).to_owned(),
        1 => format!("{},{}", name(first), name(last)),
        _ => format!("{}-{}", name(first), name(last)),
    });
    words.collect::<Vec<_>>().join(",")
}

/// A length of time as it is typed, exactly: `1h30m`.
pub(crate) fn duration_as_typed(seconds: u64) -> String {
    let units = [("d", 86_400, u64::MAX), ("h", 3600, 24), ("m", 60, 60), ("s", 1, 60)];
    let parts = units.map(|(unit, length, most)| (seconds / length % most, unit));
    let typed: String =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if typed.is_empty() { "0s".to_owned() } else { typed }
}

/// A length of time for people: `9 h 12 min`.
#[must_use]
pub fn duration_in_words(seconds: u64) -> String {
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_typed_whole() {
        for (seconds, typed) in [
            (0, "0s"),
            (45, "45s"),
            (1800, "30m"),
            (3600, "1h"),
            (5400, "1h30m"),
            (90_061, "1d1h1m1s"),
            (604_800, "7d"),
        ] {
            assert_eq!(duration_as_typed(seconds), typed);
        }
    }

    /// Central European time as a rule, so that no zone files are needed.
    fn cet() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    fn open(hours: Hours, at: &str, reading: Reading) -> bool {
        hours.is_open(&cet(), at.parse().unwrap(), reading)
    }

    fn hours(days: u8, start: u16, stop: u16) -> Hours {
        Hours { days, start, stop, zone: 0, cut: false }
    }

    #[test]
    fn office_hours_are_open_from_start_until_before_stop() {
        let office = hours(0b1_1111, 8 * 60, 18 * 60);
        for (at, is) in [
            ("2026-11-20T08:00:00+01:00", true),
            ("2026-11-20T07:59:59+01:00", false),
            ("2026-11-20T17:59:59+01:00", true),
            ("2026-11-20T18:00:00+01:00", false),
            ("2026-11-21T12:00:00+01:00", false),
            ("2026-07-20T07:00:00+01:00", true),
        ] {
            assert_eq!(open(office, at, Reading::Allow), is, "{at}");
        }
    }

    #[test]
    fn days_name_the_day_of_the_start_over_midnight() {
        let night = hours(0b1_0000, 22 * 60, 6 * 60);
        assert!(open(night, "2026-11-20T23:00:00+01:00", Reading::Allow), "friday night");
        assert!(open(night, "2026-11-21T05:59:59+01:00", Reading::Allow), "saturday morning");
        assert!(!open(night, "2026-11-20T05:00:00+01:00", Reading::Allow), "friday morning");
        assert!(!open(night, "2026-11-21T23:00:00+01:00", Reading::Allow), "saturday night");
        let day = hours(0b1_0000, 0, 1440);
        assert!(open(day, "2026-11-20T23:59:59+01:00", Reading::Allow));
        assert!(!open(day, "2026-11-21T00:00:00+01:00", Reading::Allow));
    }

    #[test]
    fn gap_in_spring_opens_an_allow_later_and_a_deny_earlier() {
        // 2026-03-29: 02:00 becomes 03:00.
        let from = hours(0x7f, 150, 12 * 60);
        assert!(!open(from, "2026-03-29T01:15:00Z", Reading::Allow));
        assert!(open(from, "2026-03-29T01:30:00Z", Reading::Allow));
        assert!(open(from, "2026-03-29T00:30:00Z", Reading::Deny));
        assert!(!open(from, "2026-03-29T00:29:59Z", Reading::Deny));
    }

    #[test]
    fn fold_in_autumn_closes_an_allow_at_the_first_and_a_deny_at_the_second() {
        // 2026-10-25: 03:00 becomes 02:00; 02:30 is 00:30Z and 01:30Z.
        let until = hours(0x7f, 60, 150);
        assert!(open(until, "2026-10-25T00:29:59Z", Reading::Allow));
        assert!(!open(until, "2026-10-25T00:30:00Z", Reading::Allow));
        assert!(open(until, "2026-10-25T01:29:59Z", Reading::Deny));
        let from = hours(0x7f, 150, 12 * 60);
        assert!(!open(from, "2026-10-25T00:45:00Z", Reading::Allow));
        assert!(open(from, "2026-10-25T01:30:00Z", Reading::Allow));
        assert!(open(from, "2026-10-25T00:45:00Z", Reading::Deny));
    }

    /// Zones whose clocks are set in different ways: an hour at night, an hour at midnight (as Brazil did until 2019), half an hour.
    fn zones() -> [(&'static str, TimeZone); 3] {
        [
            ("Europe/Paris", cet()),
            ("America/Sao_Paulo until 2019", TimeZone::posix("<-03>3<-02>,M11.1.0/0,M2.3.0/0").unwrap()),
            ("Australia/Lord_Howe", TimeZone::posix("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0").unwrap()),
        ]
    }

    /// What a clock on the wall shows: whether it is between start and stop, of the day that it shows or of the night that began the day before.
    fn clock_shows(hours: Hours, zone: &TimeZone, at: Timestamp) -> bool {
        let shown = zone.to_datetime(at);
        let minute = u16::try_from(i32::from(shown.hour()) * 60 + i32::from(shown.minute())).unwrap();
        let named = |date: Date| hours.days & (1 << date.weekday().to_monday_zero_offset()) != 0;
        let over_midnight = hours.stop <= hours.start;
        let today = minute >= hours.start && (over_midnight || minute < hours.stop);
        let yesterday = over_midnight && minute < hours.stop;
        (today && named(shown.date())) || (yesterday && named(shown.date().yesterday().unwrap()))
    }

    fn random(state: &mut u64, most: u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state >> 11) % most
    }

    fn any_hours(seed: &mut u64, cut: bool) -> Hours {
        loop {
            // Around the times at which clocks are set, mostly.
            let near = |seed: &mut u64| match random(seed, 3) {
                0 => random(seed, 1440),
                1 => (1380 + random(seed, 180)) % 1440,
                _ => 60 + random(seed, 150),
            };
            let (start, stop) = (u16::try_from(near(seed)).unwrap(), u16::try_from(near(seed)).unwrap() + 1);
            let days = u8::try_from(random(seed, 127)).unwrap() + 1;
            if start != stop {
                return Hours { days, start, stop, zone: 0, cut };
            }
        }
    }

    /// An instant within hours of one at which the clock is set, mostly.
    fn any_instant(seed: &mut u64, zone: &TimeZone) -> Timestamp {
        let begin: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let anywhere = begin + jiff::SignedDuration::from_mins(i64::try_from(random(seed, 365 * 1440)).unwrap());
        let set = zone.following(anywhere).next().filter(|_| random(seed, 4) > 0);
        let Some(set) = set else { return anywhere };
        set.timestamp() + jiff::SignedDuration::from_mins(i64::try_from(random(seed, 480)).unwrap() - 240)
    }

    #[test]
    fn allow_is_open_for_no_more_and_deny_for_no_less_than_the_clock_shows() {
        let mut seed = 0x5eed_u64;
        for (name, zone) in zones() {
            let (mut less, mut more) = (0, 0);
            for _ in 0..6_000 {
                let (hours, at) = (any_hours(&mut seed, false), any_instant(&mut seed, &zone));
                let shown = clock_shows(hours, &zone, at);
                let [allow, deny] = [Reading::Allow, Reading::Deny].map(|reading| hours.is_open(&zone, at, reading));
                let told = format!("{name} {} at {at}", hours.words(name));
                assert!(shown || !allow, "an allow is open beyond the clock: {told}");
                assert!(deny || !shown, "a deny is closed before the clock: {told}");
                less += u32::from(shown && !allow);
                more += u32::from(deny && !shown);
                let day = jiff::SignedDuration::from_hours(36);
                if zone.to_offset(at - day) == zone.to_offset(at + day) {
                    assert_eq!((allow, deny), (shown, shown), "no clock is set: {told}");
                }
            }
            assert!(less > 8 && more > 8, "{name}: {less} {more}: the clock was hardly ever set");
        }
    }

    #[test]
    fn cut_is_where_a_walk_minute_by_minute_finds_the_hours_closed() {
        let mut seed = 0xc07_u64;
        for (name, zone) in zones() {
            let (mut cuts, mut never) = (0, 0);
            for _ in 0..60 {
                let count = random(&mut seed, 2);
                let all: Vec<Hours> = (0..=count)
                    .map(|_| {
                        let cut = random(&mut seed, 5) > 0;
                        any_hours(&mut seed, cut)
                    })
                    .collect();
                let now = any_instant(&mut seed, &zone);
                let (all, zone) = (&all, &zone);
                let open = |at: Timestamp| all.iter().filter(move |one| one.is_open(zone, at, Reading::Allow));
                if open(now).next().is_none() {
                    continue;
                }
                // To the week's end, and while every minute is within some hours; none of which may be without a cut.
                let minute = |ahead: i64| now + jiff::SignedDuration::from_mins(ahead);
                let closed = (0..=7 * 1440).find(|ahead| open(minute(*ahead)).next().is_none());
                let uncut = (0..closed.unwrap_or(7 * 1440)).any(|ahead| open(minute(ahead)).any(|one| !one.cut));
                let found = cut_at(all, std::slice::from_ref(zone), now);
                let told = format!("{name} {all:?} at {now}: {found:?}");
                match closed {
                    Some(closed) if !uncut => {
                        assert_eq!(found, Some(minute(closed)), "{told}");
                        cuts += 1;
                    }
                    _ => {
                        assert_eq!(found, None, "{told}");
                        never += 1;
                    }
                }
            }
            assert!(cuts > 5 && never > 0, "{name}: {cuts} {never}");
        }
    }

    #[test]
    fn clocks_that_are_set_at_midnight_and_by_half_an_hour_are_named() {
        let [_, (_, brazil), (_, lord_howe)] = zones();
        // Brazil, 1 November 2026 by that rule: 00:00 becomes 01:00, so that day has no midnight.
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let sunday = hours(0b100_0000, 0, 60);
        assert!(!sunday.is_open(&brazil, at("2026-11-01T03:30:00Z"), Reading::Allow), "no minute of it exists");
        let saturday = hours(0b10_0000, 22 * 60, 1440);
        assert!(saturday.is_open(&brazil, at("2026-11-01T01:59:59Z"), Reading::Allow));
        assert!(
            !saturday.is_open(&brazil, at("2026-11-01T02:00:00Z"), Reading::Allow),
            "an hour early, as it may be 24:00"
        );
        assert!(saturday.is_open(&brazil, at("2026-11-01T02:59:59Z"), Reading::Deny));
        // 15 February: 24:00 of Saturday becomes 23:00, which happens twice.
        let late = hours(0b10_0000, 23 * 60, 23 * 60 + 30);
        assert!(!late.is_open(&brazil, at("2026-02-15T01:10:00Z"), Reading::Allow), "the first 23:10 may not be meant");
        assert!(late.is_open(&brazil, at("2026-02-15T01:10:00Z"), Reading::Deny));
        assert!(late.is_open(&brazil, at("2026-02-15T02:10:00Z"), Reading::Deny));
        // Lord Howe, 5 April 2026: 02:00 becomes 01:30.
        let half = hours(0x7f, 105, 120);
        assert!(half.is_open(&lord_howe, at("2026-04-04T14:50:00Z"), Reading::Deny), "the first 01:50");
        assert!(half.is_open(&lord_howe, at("2026-04-04T15:20:00Z"), Reading::Deny), "the second");
        assert!(!half.is_open(&lord_howe, at("2026-04-04T14:50:00Z"), Reading::Allow));
    }

    #[test]
    fn cut_ends_with_the_last_of_joined_hours() {
        let entry = |start: u16, stop: u16, cut| Hours { days: 0x7f, start: start * 60, stop: stop * 60, zone: 0, cut };
        let now: Timestamp = "2026-11-20T09:00:00+01:00".parse().unwrap();
        let until = |clock: &str| Some(format!("2026-11-20T{clock}:00+01:00").parse::<Timestamp>().unwrap());
        assert_eq!(cut_at(&[entry(8, 12, true)], &[cet()], now), until("12:00"));
        assert_eq!(cut_at(&[entry(8, 12, true), entry(12, 14, true)], &[cet()], now), until("14:00"));
        assert_eq!(cut_at(&[entry(8, 12, true), entry(13, 14, true)], &[cet()], now), until("12:00"));
        assert_eq!(cut_at(&[entry(8, 12, false)], &[cet()], now), None);
        assert_eq!(cut_at(&[entry(0, 24, true)], &[cet()], now), None, "open round the clock");
        // One without a cut that is over takes no cut away.
        assert_eq!(cut_at(&[entry(7, 8, false), entry(6, 12, true)], &[cet()], now), until("12:00"));
        assert_eq!(opens_at(&[entry(8, 12, true)], &[cet()], now), Some("2026-11-21T08:00:00+01:00".parse().unwrap()));
    }

    #[test]
    fn words_are_short() {
        assert_eq!(hours(0b1_1111, 480, 1080).words("Europe/Paris"), "mon-fri 08:00-18:00 Europe/Paris");
        assert_eq!(days_in_words(0b100_0101), "mon,wed,sun");
        assert_eq!(duration_in_words(33_120), "9 h 12 min");
        assert_eq!(duration_in_words(59), "59 s");
    }
}
