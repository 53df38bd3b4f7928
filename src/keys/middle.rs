//! Somebody in the middle, who changes, repeats, reorders, drops, delays, splices and reflects lines
//! in both directions: what either end takes is what the other has said, in its order, and no more.
//!
//! Without a socket, so that thousands of runs take no time; `tests/it/keys/middle.rs` has the same
//! with the programs' threads.

use std::collections::VecDeque;

use fastrand::Rng;

use crate::keys::code::Nonce;
use crate::keys::codes::Codes;
use crate::keys::handshake::{Called, Caller, claimed};
use crate::keys::holder::Role;
use crate::keys::node_key::NodeKey;
use crate::keys::secret::Secret;

/// Lines that are under way in one direction.
type Wire = VecDeque<String>;

/// What one end of a session has said and has taken for the other's words.
#[derive(Default)]
struct End {
    said: Vec<String>,
    heard: Vec<String>,
    codes: Option<Codes>,
    broken: bool,
}

impl End {
    fn say(&mut self, line: &str, wire: &mut Wire) {
        if let Some(codes) = &mut self.codes {
            self.said.push(line.to_owned());
            let mut sealed = format!("{line}\n");
            codes.seal(&mut sealed);
            wire.push_back(sealed.trim_end().to_owned());
        }
    }

    /// The real ends end a connection with the first line whose code is wrong.
    fn hear(&mut self, line: &str) {
        let Some(codes) = self.codes.as_mut().filter(|_| !self.broken) else {
            return;
        };
        match codes.open(line) {
            Ok(line) => self.heard.push(line.to_owned()),
            Err(_) => self.broken = true,
        }
    }
}

/// Does one thing to what is under way; what was seen before, in any session, may be played again.
fn attack(random: &mut Rng, wires: [&mut Wire; 2], seen: &[String]) {
    let [wire, other] = wires;
    let place = random.usize(..=wire.len());
    match random.u8(..7) {
        0 => {
            if let Some(line) = wire.get_mut(place) {
                let mut bytes = line.clone().into_bytes();
                let byte = random.usize(..bytes.len());
                // Another digit or letter, which stays one line of text.
                bytes[byte] = *random.choice(b"0123456789abcdef -=PTA").unwrap_or(&b'0');
                *line = String::from_utf8(bytes).unwrap_or_default();
            }
        }
        1 => {
            if let Some(line) = wire.get(place).cloned() {
                wire.insert(place, line);
            }
        }
        2 if wire.len() > 1 => wire.swap(0, random.usize(1..wire.len())),
        3 => drop(wire.remove(place)),
        4 => {
            if let Some(line) = random.choice(seen) {
                wire.insert(place, line.clone());
            }
        }
        5 => {
            if let Some(line) = other.get(random.usize(..=other.len())).cloned() {
                wire.insert(place, line);
            }
        }
        // Half of one line and half of another.
        _ => {
            if let (Some(line), Some(other)) = (wire.get(place).cloned(), random.choice(seen)) {
                let cut = random.usize(..=line.len().min(other.len()));
                wire[place] = format!("{}{}", &line[..cut], &other[cut..]);
            }
        }
    }
}

/// Hands a line of the handshake on, or something else.
fn under_way(line: String, random: &mut Rng, seen: &mut Vec<String>) -> Option<String> {
    let mut wire = Wire::from([line.clone()]);
    let mut other = Wire::from([random.choice(&*seen).cloned().unwrap_or_default()]);
    if random.u8(..4) == 0 {
        attack(random, [&mut wire, &mut other], seen);
    }
    seen.push(line);
    wire.pop_front()
}

/// One session, and whether both ends have proven themselves.
fn session(random: &mut Rng, key: &NodeKey, seen: &mut Vec<String>) -> Option<bool> {
    let [ours, theirs] = [(); 2].map(|()| Nonce::new(random.u128(..).to_be_bytes()));
    let calls = Caller::new(key, ours);
    let said = calls.opening().to_owned();
    let opening = under_way(said.clone(), random, seen)?;
    let holder = claimed(&opening).ok()?;
    let theirs_key = NodeKey::derive(&Secret::new([7; 32]), holder);
    let (called, answer) = Called::answer(&theirs_key.secret, &opening, theirs);
    let heard = under_way(answer.clone(), random, seen)?;
    let (proof, codes) = calls.prove(&heard).ok()?;
    assert_eq!(
        (&opening, &heard),
        (&said, &answer),
        "it was changed, and believed"
    );
    let mut follower = End {
        codes: Some(codes),
        ..End::default()
    };
    let heard = under_way(proof.clone(), random, seen)?;
    let codes = called.proven(&heard).ok()?;
    assert_eq!(heard, proof, "it was changed, and believed");
    let mut master = End {
        codes: Some(codes),
        ..End::default()
    };
    let (mut down, mut up) = (Wire::new(), Wire::new());
    for n in 0..random.u64(1..12) {
        master.say(&format!("POLL {n}"), &mut down);
        follower.say(&format!("TIME {n} 5 6 rate=7"), &mut up);
        master.say(&format!("ADJUST {n} {n} 1000 rate=0"), &mut down);
        seen.extend(down.iter().chain(&up).cloned());
        if random.u8(..3) == 0 {
            attack(random, [&mut down, &mut up], seen);
        }
        if random.u8(..3) == 0 {
            attack(random, [&mut up, &mut down], seen);
        }
        // What is not handed on now is delayed.
        let (downwards, upwards) = (random.usize(..=down.len()), random.usize(..=up.len()));
        down.drain(..downwards)
            .for_each(|line| follower.hear(&line));
        up.drain(..upwards).for_each(|line| master.hear(&line));
    }
    for (from, to) in [(&master, &follower), (&follower, &master)] {
        let heard = to.heard.len();
        assert_eq!(
            to.heard,
            from.said[..heard],
            "not what was said, or not in its order"
        );
    }
    Some(follower.broken || master.broken)
}

#[test]
fn nothing_passes_the_one_in_the_middle_but_what_was_said_in_its_order() {
    let name = "db1".parse().unwrap();
    let holder = crate::keys::holder::Holder {
        role: Role::Follower,
        name,
        generation: 1,
    };
    let key = NodeKey::derive(&Secret::new([7; 32]), holder);
    let (mut unproven, mut broken, mut whole) = (0, 0, 0);
    for seed in 0..1000 {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        // Each plays on with what it has seen in the sessions before.
        let mut seen = Vec::new();
        for _ in 0..4 {
            match session(&mut random, &key, &mut seen) {
                None => unproven += 1,
                Some(true) => broken += 1,
                Some(false) => whole += 1,
            }
        }
    }
    println!("{unproven} sessions were not begun, {broken} were broken, {whole} were left whole");
    assert!(
        unproven > 500 && broken > 500 && whole > 50,
        "{unproven} {broken} {whole}"
    );
}
