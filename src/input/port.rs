//! Names of ports, such as `pci-0000:00:14.0-usb-0:1.10:1.0`, in their natural order. Pure.

use std::cmp::Ordering;

/// Splits the leading digits, or the leading part without digits, from a text.
fn split(text: &str) -> (&str, &str) {
    let is_number = text.starts_with(|first: char| first.is_ascii_digit());
    let end = text.find(|other: char| other.is_ascii_digit() != is_number).unwrap_or(text.len());
    text.split_at(end)
}

/// Compares numbers of any length.
fn compare_numbers(one: &str, other: &str) -> Ordering {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

/// Compares two texts: their numbers as numbers, so that port 1.10 comes after port 1.9.
pub fn natural_order(one: &str, other: &str) -> Ordering {
    let (mut left, mut right) = (one, other);
    while !left.is_empty() && !right.is_empty() {
        let ((first, rest), (other_first, other_rest)) = (split(left), split(right));
        let are_numbers =
            [first, other_first].iter().all(|part| part.starts_with(|c: char| c.is_ascii_digit()));
        let order = if are_numbers { compare_numbers(first, other_first) } else { first.cmp(other_first) };
        if order.is_ne() {
            return order;
        }
        (left, right) = (rest, other_rest);
    }
    left.len().cmp(&right.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers() {
        for (one, other, expected) in [
            ("usb-0:1.9:1.0", "usb-0:1.10:1.0", Ordering::Less),
            ("usb-0:2:1.0", "usb-0:1.10:1.0", Ordering::Greater),
            ("event3", "event10", Ordering::Less),
            ("a", "a1", Ordering::Less),
            ("1", "a", Ordering::Less),
            ("007", "7", Ordering::Less),
            ("99999999999999999999999", "100000000000000000000000", Ordering::Less),
            ("", "", Ordering::Equal),
            ("x1y2", "x1y2", Ordering::Equal),
        ] {
            assert_eq!(natural_order(one, other), expected, "{one} {other}");
            assert_eq!(natural_order(other, one), expected.reverse(), "{other} {one}");
        }
    }

    proptest! {
        /// `sort_by` may panic if the order is not total.
        #[test]
        fn order_is_total(texts in proptest::array::uniform3("[0-9a-b:.é]{0,6}")) {
            let [a, b, c] = &texts;
            prop_assert_eq!(natural_order(a, b), natural_order(b, a).reverse());
            prop_assert_eq!(natural_order(a, b).is_eq(), a == b);
            if natural_order(a, b).is_le() && natural_order(b, c).is_le() {
                prop_assert!(natural_order(a, c).is_le(), "{} {} {}", a, b, c);
            }
        }
    }
}
