//! Times as the W3C writes them: RFC 3339, UTC, no fractions.

use genesis::UnixMillis;

/// `time` as, for example, `2026-11-23T17:01:18Z`. Fractions are cut. Years after 9999, which no valid block has,
/// get more digits.
pub fn rfc3339(time: UnixMillis) -> String {
    let seconds = time.0 / 1_000;
    let (year, month, day) = civil(seconds / 86_400);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The second since 1970 that `text` names, written as [`rfc3339`] writes it: none where it is written otherwise, be it
/// with a fraction, another offset than `Z`, or a day that never was.
pub fn parse(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        let digits = text.get(range)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if year < 1970 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days(year, month, day)? * 86_400 + hour * 3_600 + minute * 60 + second;
    // One text a time: this also finds wrong separators and days that a month does not have.
    (rfc3339(UnixMillis(seconds * 1_000)) == text).then_some(seconds)
}

/// The inverse of [`civil`]; for a month with more days than it has, a day of the next.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year - 1 } else { year };
    let (cycle, year_of_cycle) = (year / 400, year % 400);
    let months_since_march = (month + 9) % 12;
    let day_of_year = (153 * months_since_march + 2) / 5 + day.checked_sub(1)?;
    let day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    (cycle * 146_097 + day_of_cycle).checked_sub(719_468)
}

/// The Gregorian date that is `days` after 1970-01-01. Years are counted from March here, so that the leap day
/// comes last, in cycles of 400 years (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let since_march_0000 = days + 719_468;
    let (cycle, day_of_cycle) = (since_march_0000 / 146_097, since_march_0000 % 146_097);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month = if months_since_march < 10 { months_since_march + 3 } else { months_since_march - 9 };
    let year = year_of_cycle + cycle * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_have_their_known_texts() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_999, "2000-02-28T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(UnixMillis(millis)), text);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for seconds in (0..253_402_300_800).step_by(86_413 * 7) {
            assert_eq!(parse(&rfc3339(UnixMillis(seconds * 1_000 + 999))), Some(seconds));
        }
    }

    #[test]
    fn a_time_that_is_written_otherwise_is_none() {
        for text in [
            "",
            "2025-10-07",
            "T12:30:45Z",
            "2025-10-07 12:30:45Z",
            "2025/10/07T12:30:45Z",
            "2025-13-07T12:30:45Z",
            "2025-00-07T12:30:45Z",
            "2025-10-32T12:30:45Z",
            "2025-10-00T12:30:45Z",
            "2025-02-29T12:30:45Z",
            "2025-10-07T24:00:00Z",
            "2025-10-07T12:60:45Z",
            "2025-10-07T12:30:60Z",
            "2025-10-07T12:30:45",
            "2025-10-07T12:30:45z",
            "2025-10-07T12:30:45ZZ",
            "2025-10-07T12:30:45.5Z",
            "2025-10-07T12:30:45+00:00",
            "2025-10-07T12:30:45+02:00",
            "+025-10-07T12:30:45Z",
            "1969-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
            "20255-10-07T12:30:45Z",
            "２025-10-07T12:30:45Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_time_panics() {
        assert!(rfc3339(UnixMillis(u64::MAX)).ends_with('Z'));
    }

    #[test]
    fn every_day_for_a_thousand_years_follows_the_one_before() {
        let leap = |year: u64| year.is_multiple_of(if year.is_multiple_of(100) { 400 } else { 4 });
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..365_250 {
            assert_eq!(civil(days), (year, month, day), "day {days}");
            let length = match month {
                2 => 28 + u64::from(leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }
}
