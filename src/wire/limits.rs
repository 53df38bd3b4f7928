//! How long the lines get that are sent.

use crate::wire::address::Address;
use crate::wire::candidate::{
    Heartbeat, LARGEST_TERM, Leader, Leadership, MOST_CANDIDATES, Rank, Role,
};
use crate::wire::message::{INTERVALS, Message, VERSION};
use crate::wire::steps::{LARGEST_STEP, Steps};

/// How long a line can get that one of these candidates sends: a greeting or a heartbeat.
#[must_use]
pub fn longest_line(candidates: &[Address]) -> usize {
    let longest = candidates
        .iter()
        .max_by_key(|address| address.to_string().len());
    let Some(longest) = longest else {
        return 0;
    };
    let greeting = Message::Berkeley {
        version: VERSION,
        interval: Some(*INTERVALS.end()),
        leadership: Some(Leadership {
            term: LARGEST_TERM,
            leader: Leader::Other(longest.clone()),
            candidates: candidates.to_vec(),
        }),
    };
    let heartbeat = Message::Candidate {
        rank: Rank(MOST_CANDIDATES - 1),
        address: longest.clone(),
        heartbeat: Heartbeat {
            term: LARGEST_TERM,
            role: Role::Misses(Rank(MOST_CANDIDATES - 1), u8::MAX),
            synchronized: true,
            hears: (0..MOST_CANDIDATES).map(Rank).collect(),
            steps: Some(Steps {
                series: u32::MAX,
                number: u32::MAX,
                total: -LARGEST_STEP,
            }),
            orders: Some(u32::MAX),
        },
    };
    let length = |message: Message| message.to_string().len();
    length(greeting).max(length(heartbeat))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(addresses: &str) -> Vec<Address> {
        let addresses = addresses.split(',');
        addresses.map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn the_longest_line_greets_with_the_longest_address() {
        let words = "BERKELEY 1 interval=86400000000000 term=999999999999 leader= candidates=";
        let longer = "a.name.that.is.so.much.longer.than.any.that.people.like.to.type:8080";
        let numbers = (1..=9).map(|last| format!("10.0.0.{last}"));
        let numbers = numbers.collect::<Vec<_>>().join(",");
        for addresses in [&format!("short:1,{longer},{longer}"), &numbers] {
            let list = list(addresses);
            let long = list.iter().map(|address| address.to_string().len());
            let all: usize = long.clone().map(|length| length + 1).sum();
            let expected = words.len() + long.max().unwrap() + all - 1;
            assert_eq!(longest_line(&list), expected, "{addresses}");
        }
        // Of short addresses, a heartbeat.
        let words = "CANDIDATE 8 a:1 999999999999 misses=8 away=255 hears=0,1,2,3,4,5,6,7,8 \
                     steps=4294967295,4294967295,-3155760000000000000 orders=4294967295 \
                     synchronized=yes";
        assert_eq!(longest_line(&list("a:1,b:1")), words.len());
        assert_eq!(longest_line(&[]), 0);
    }
}
