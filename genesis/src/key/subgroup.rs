//! Whether keys are points of the subgroup of prime order, alone or many at once.
//!
//! The curve's points are a cyclic group of ℓ points times one of 8, the torsion. A point is in the subgroup where ℓ times it is the
//! identity: that costs more than a signature's check. Of many points, sums of which each takes or leaves every point at random are
//! looked at instead: one point with torsion leaves each sum torsion with a chance of one half at least, whatever the others are
//! (its own chance to be taken, with the rest of the sum given). So 40 sums let it pass with a chance of 2^-40 at most.
//!
//! Invariant: the randomness is fresh and never shown, so nobody can look for keys that pass: who wants to try must submit, and a block
//! that names the key is final only where every honest validator of a quorum let it pass, each by itself: 2^-80 with four.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;

/// How many sums are looked at.
const SUMS: u32 = 40;
/// Some sums are made together, in a table by which of them a point is taken into: with few points a small one.
const MANY: usize = 400;
/// Fewer points than this are cheaper one by one.
const WORTH_IT: usize = 56;

/// Whether every one of `points` is in the subgroup of prime order.
pub(super) fn contains_all(points: &[EdwardsPoint]) -> bool {
    if points.len() < WORTH_IT {
        return points.iter().all(contains);
    }
    let together: u32 = if points.len() < MANY { 4 } else { 8 };
    let mut choices = vec![0; points.len()];
    (0..SUMS / together).all(|_| {
        rand::Rng::fill_bytes(&mut rand::rng(), &mut choices);
        let mut table = vec![EdwardsPoint::identity(); 1 << together];
        for (point, choice) in points.iter().zip(&choices) {
            table[usize::from(*choice) % (1 << together)] += point;
        }
        sums(table).iter().all(contains)
    })
}

/// Of points by a number, for each bit of it the sum of those whose number has that bit.
fn sums(mut table: Vec<EdwardsPoint>) -> Vec<EdwardsPoint> {
    let mut sums = Vec::new();
    while table.len() > 1 {
        // The highest bit is the upper half; folded onto the lower one, it takes part in what the other bits say.
        let upper = table.split_off(table.len() / 2);
        sums.push(upper.iter().sum());
        for (point, folded) in table.iter_mut().zip(&upper) {
            *point += folded;
        }
    }
    sums
}

fn contains(point: &EdwardsPoint) -> bool {
    // With ℓ the order of the subgroup, (ℓ−1)·P = −P says that P is in it; in variable time, since keys are public, that
    // takes a third of what `is_torsion_free` does.
    let minus_one = -Scalar::ONE;
    EdwardsPoint::vartime_double_scalar_mul_basepoint(&minus_one, point, &Scalar::ZERO) == -point
}

/// The point of a canonical encoding, unless it is of small order.
pub(super) fn decode(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    // RFC 8032 5.1.3: y is below p = 2^255 − 19. A sign that belongs to no point stands on x = 0 alone, which is of small order.
    let is_below_p = bytes[0] < 0xed || bytes[1..31] != [0xff; 30] || bytes[31] & 0x7f != 0x7f;
    let point = CompressedEdwardsY(*bytes).decompress().filter(|_| is_below_p)?;
    (!point.is_small_order()).then_some(point)
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};

    use super::*;

    /// As many points of the subgroup as are checked together.
    fn sound() -> Vec<EdwardsPoint> {
        (1..=2 * WORTH_IT as u64).map(|number| ED25519_BASEPOINT_POINT * Scalar::from(number)).collect()
    }

    #[test]
    fn many_sound_points_pass_and_one_with_torsion_of_any_order_does_not_wherever_it_stands() {
        let more: Vec<_> = std::iter::repeat_n(sound(), 4).flatten().collect();
        assert!(more.len() > MANY);
        for points in [sound(), more] {
            assert!(contains_all(&points));
            for torsion in &EIGHT_TORSION[1..] {
                for place in [0, WORTH_IT, points.len() - 1] {
                    let mut points = points.clone();
                    points[place] += torsion;
                    assert!(!contains_all(&points), "{torsion:?} at {place}");
                }
            }
        }
    }

    #[test]
    fn torsions_that_cancel_out_are_found() {
        let mut points = sound();
        for point in &mut points {
            *point += EIGHT_TORSION[4];
        }
        assert!(!contains_all(&points));
        for pair in points.chunks_mut(2) {
            pair[0] += EIGHT_TORSION[1] + EIGHT_TORSION[4];
            pair[1] += EIGHT_TORSION[7] + EIGHT_TORSION[4];
        }
        assert!(!contains_all(&points));
    }

    #[test]
    fn the_sums_are_those_of_the_points_whose_number_has_the_bit() {
        let table: Vec<_> = std::iter::repeat_n(sound(), 3).flatten().take(256).collect();
        let expected = |bit: usize| -> EdwardsPoint {
            let taken = table.iter().enumerate().filter(|(number, _)| number >> bit & 1 == 1);
            taken.map(|(_, point)| point).sum()
        };
        let expected: Vec<_> = (0..8).rev().map(expected).collect();
        assert_eq!(sums(table), expected);
    }

    #[test]
    fn every_encoding_of_y_from_p_on_is_refused_and_the_ones_below_are_not_for_that() {
        for low in 0..=u8::MAX {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, 0x7f);
            let decoded = CompressedEdwardsY(bytes).decompress();
            let canonical =
                decoded.is_some_and(|point| point.compress().0 == bytes && !point.is_small_order());
            assert_eq!(decode(&bytes).is_some(), canonical, "{low}");
        }
    }
}
