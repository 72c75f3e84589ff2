//! Parameters of pictures that people bring, a fixed number of damaged ones in every run.
//!
//! `one_case` is the body of a `cargo fuzz` target; `MUTATIONS` runs it in every test run.

use easel_diffusion::random::Mt19937;
use easel_diffusion::{Picture, png};
use image::RgbImage;

const MUTATIONS: u32 = 6_000;
/// What `read_parameters` unpacks of a compressed text, at most.
const LIMIT: usize = 1 << 20;

/// Any bytes give a bounded text or none.
fn one_case(bytes: &[u8]) -> Option<String> {
    let text = png::read_parameters(bytes)?;
    assert!(text.len() <= LIMIT.max(2 * bytes.len()), "{} bytes of text from {}", text.len(), bytes.len());
    Some(text)
}

fn seeds() -> Vec<Vec<u8>> {
    let picture = |infotext: &str| Picture {
        rgb: RgbImage::from_fn(6, 5, |x, y| image::Rgb([x as u8 * 40, y as u8 * 50, 9])),
        seed: 1,
        infotext: infotext.into(),
    };
    let encoded = |text: &str| png::encode(&picture(text)).unwrap();
    let (latin, unicode) = (encoded("a cat\nSteps: 20, Seed: 1"), encoded("ein Bär – 熊\nSteps: 20"));
    vec![latin, unicode, with_chunk(b"iTXt", &bomb()), with_chunk(b"zTXt", &bomb())]
}

/// `parameters` as a compressed text of 4 MiB, which only claims to be compressed.
fn bomb() -> Vec<u8> {
    // keyword, end, compressed, deflate, no language, no translation, then a stream of stored zeros.
    let mut chunk = b"parameters\0\x01\0\0\0\x78\x9c".to_vec();
    for _ in 0..64 {
        chunk.extend(b"\x00\xff\xff\x00\x00");
        chunk.extend(std::iter::repeat_n(0_u8, 0xffff));
    }
    chunk
}

/// A picture with one more chunk behind its header.
fn with_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let plain = png::encode(&Picture { rgb: RgbImage::new(1, 1), seed: 0, infotext: String::new() }).unwrap();
    let header = 8 + 25;
    let mut bytes = plain[..header].to_vec();
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(kind);
    bytes.extend(data);
    // A wrong checksum is a case as well.
    bytes.extend([0; 4]);
    bytes.extend(&plain[header..]);
    bytes
}

#[test]
fn damaged_pictures_give_a_bounded_text_or_none() {
    let (seeds, mut random) = (seeds(), Mt19937::new(7));
    assert_eq!(one_case(&seeds[0]).as_deref(), Some("a cat\nSteps: 20, Seed: 1"));
    assert_eq!(one_case(&seeds[1]).as_deref(), Some("ein Bär – 熊\nSteps: 20"));
    let mut read = 0;
    for case in 0..MUTATIONS {
        // The large ones are slow, and say little that the small ones do not.
        let which =
            if case % 200 == 0 { random.next_u32() as usize % seeds.len() } else { case as usize % 2 };
        let mut bytes = seeds[which].clone();
        for _ in 0..=random.next_u32() % 4 {
            let at = random.next_u32() as usize % bytes.len();
            match random.next_u32() % 3 {
                0 => bytes[at] = random.next_u32() as u8,
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, random.next_u32() as u8),
            }
        }
        read += u32::from(one_case(&bytes).is_some());
    }
    assert!(read > 0 && read < MUTATIONS, "{read} of {MUTATIONS} were readable");
}
