//! A timestamp in the text form Cedar reads.

use carnet_core::Timestamp;

const MS_PER_DAY: i64 = 86_400_000;
/// Days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar.
const DAYS_TO_EPOCH: i64 = 719_468;
/// Days in 400 years.
const DAYS_PER_ERA: i64 = 146_097;

/// `at` as `YYYY-MM-DDThh:mm:ss.mmmZ`, or nothing where the year needs more than four digits.
pub(crate) fn instant_text(at: Timestamp) -> Option<String> {
    let ms = at.us().div_euclid(1000);
    let (day, ms) = (ms.div_euclid(MS_PER_DAY), ms.rem_euclid(MS_PER_DAY));
    let (year, month, day) = civil(day);
    if !(0..=9999).contains(&year) {
        return None;
    }
    let (s, ms) = (ms / 1000, ms % 1000);
    let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z"))
}

/// Year, month and day of a day counted from the epoch. Years are counted from March, so that the
/// leap day is the last of its year and months have a regular pattern.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + DAYS_TO_EPOCH;
    let (era, day) = (day.div_euclid(DAYS_PER_ERA), day.rem_euclid(DAYS_PER_ERA));
    let year = (day - day / 1460 + day / 36_524 - day / (DAYS_PER_ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let month_day = day - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + i64::from(month <= 2), month, month_day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_have_their_known_text() {
        for (us, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (1_000_000_000_123_456, "2001-09-09T01:46:40.123Z"),
            (1_709_251_199_999_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(instant_text(Timestamp::from_us(us)).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_moment_outside_four_digit_years_has_no_text() {
        assert_eq!(instant_text(Timestamp::from_us(i64::MAX)), None);
        assert_eq!(instant_text(Timestamp::from_us(i64::MIN)), None);
    }

    proptest::proptest! {
        #[test]
        fn each_day_is_followed_by_the_next(day in -700_000_i64..2_900_000) {
            let (y, m, d) = civil(day);
            let next = civil(day + 1);
            let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
            let last = match m { 2 if leap => 29, 2 => 28, 4 | 6 | 9 | 11 => 30, _ => 31 };
            let expected = if d < last { (y, m, d + 1) } else if m < 12 { (y, m + 1, 1) } else { (y + 1, 1, 1) };
            proptest::prop_assert_eq!(next, expected);
        }
    }
}
