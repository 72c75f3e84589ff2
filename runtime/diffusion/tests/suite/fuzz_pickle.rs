//! Mutations of real checkpoints, always the same ones: whatever comes in, nothing panics, nothing is run,
//! and what is accepted lies inside of the file.
//!
//! `one_case` is the body of a `cargo fuzz` target; `MUTATIONS` runs it in every test run.

use std::fs;

use easel_diffusion::random::Mt19937;
use easel_diffusion::weights::{Header, read_pickle};

use crate::golden::path;

const MUTATIONS: u32 = 6_000;
const SEEDS: &[&str] =
    &["lightning.ckpt", "legacy.ckpt", "protocol4.ckpt", "embedding.pt", "embedding_module.pt"];

/// What every reader of a header relies on.
pub fn assert_inside(header: &Header) {
    for (name, t) in &header.tensors {
        assert!(t.begin <= t.end && t.end <= header.file_len, "{name}");
        let size = t.dtype.bits().div_ceil(8);
        match &t.strides {
            None => assert_eq!((t.end - t.begin) * 8, t.elements() * t.dtype.bits(), "{name}"),
            Some(strides) => {
                assert_eq!(strides.len(), t.shape.len(), "{name}");
                let span: u64 = t.shape.iter().zip(strides).map(|(d, s)| (*d as u64 - 1) * *s as u64).sum();
                assert_eq!((span + 1) * size, t.end - t.begin, "{name}");
                assert!(t.elements() * size <= header.file_len, "{name}");
            }
        }
    }
}

fn one_case(bytes: &[u8]) -> bool {
    match read_pickle(bytes) {
        Ok(header) => {
            assert_inside(&header);
            true
        }
        Err(error) => {
            assert!(!error.reason().is_empty() && error.to_string().len() < 2000);
            false
        }
    }
}

/// Bytes that mean something to the machine.
const INTERESTING: &[u8] =
    b"(.012NJKMQRXVabc}]egqjrtuhs)\x80\x81\x85\x86\x87\x88\x8a\x8c\x93\x94\x95\x00\x01\x7f\xff";

pub fn mutate(bytes: &mut Vec<u8>, rng: &mut Mt19937) {
    for _ in 0..=rng.next_u32() % 6 {
        let length = bytes.len().max(1) as u32;
        let at = (rng.next_u32() % length) as usize;
        let span = (1 + rng.next_u32() % 24) as usize;
        let end = (at + span).min(bytes.len());
        match rng.next_u32() % 6 {
            0 => bytes.iter_mut().skip(at).take(1).for_each(|b| *b ^= 1 << (span % 8)),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|b| *b = INTERESTING[span % INTERESTING.len()]),
            2 => drop(bytes.drain(at.min(end)..end)),
            3 => {
                let copy = bytes[at.min(end)..end].to_vec();
                let to = (rng.next_u32() as usize) % (bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            4 => bytes.iter_mut().skip(at).take(4).for_each(|b| *b = 0xff),
            _ => bytes.truncate(bytes.len() - (rng.next_u32() as usize % 64).min(bytes.len())),
        }
    }
}

#[test]
fn mutated_checkpoints_are_sound_or_refused() {
    let mut rng = Mt19937::new(20_260_101);
    for name in SEEDS {
        let seed = fs::read(path(&format!("families/{name}"))).unwrap();
        assert!(one_case(&seed), "{name}");
        let mut accepted = 0;
        for _ in 0..MUTATIONS / SEEDS.len() as u32 {
            let mut bytes = seed.clone();
            mutate(&mut bytes, &mut rng);
            accepted += u32::from(one_case(&bytes));
        }
        // If nothing or everything passed, the mutations would test nothing.
        assert!((1..MUTATIONS).contains(&accepted), "{name}: {accepted} accepted");
    }
}

#[test]
fn mutated_programs_are_sound_or_refused() {
    // The program alone, so that no mutation is spent on the archive around it.
    let file = fs::read(path("families/protocol4.ckpt")).unwrap();
    let start = file.windows(2).position(|w| w == b"\x80\x04").unwrap();
    let end = start + file[start..].windows(2).position(|w| w == b".P" || w == b"e.").unwrap_or(1500) + 2;
    let mut rng = Mt19937::new(20_260_102);
    for _ in 0..MUTATIONS {
        let mut bytes = file[start..end].to_vec();
        mutate(&mut bytes, &mut rng);
        one_case(&bytes);
    }
}

#[test]
fn random_programs_are_sound_or_refused() {
    let mut rng = Mt19937::new(20_260_103);
    for _ in 0..MUTATIONS {
        let length = rng.next_u32() % 200;
        let mut bytes = b"\x80\x02".to_vec();
        for _ in 0..length {
            let pick = rng.next_u32();
            let table = INTERESTING[pick as usize % INTERESTING.len()];
            bytes.push(if pick & 0x10000 == 0 { table } else { (pick >> 24) as u8 });
        }
        bytes.push(b'.');
        one_case(&bytes);
    }
}
