//! Patterns of file names, with the meaning that the hub's own clients give them: Python's `fnmatch` over the whole
//! path (`*` matches slashes too), and a pattern that ends with a slash stands for all that is below.

/// Does the pattern match the whole path? Takes at most `pattern × path` steps.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    let mut pattern: Vec<Item> = parse(pattern);
    if pattern.last() == Some(&Item::One(vec![('/', '/')], true)) {
        pattern.push(Item::Any);
    }
    let path: Vec<char> = path.chars().collect();
    // After a mismatch only the last star needs to take one more letter: earlier ones could gain nothing by it.
    let (mut at, mut here, mut star) = (0, 0, None);
    while here < path.len() {
        match pattern.get(at) {
            Some(Item::Any) => {
                star = Some((at, here));
                at += 1;
            }
            Some(item) if item.takes(path[here]) => {
                at += 1;
                here += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                (at, here) = (star_at + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|item| *item == Item::Any)
}

/// Are there letters in it that stand for others?
pub(super) fn is_pattern(text: &str) -> bool {
    text.ends_with('/') || text.contains(['*', '?', '['])
}

#[derive(Debug, PartialEq)]
enum Item {
    /// Any number of letters.
    Any,
    /// One letter: inside one of the ranges, or outside of all of them.
    One(Vec<(char, char)>, bool),
}

impl Item {
    fn takes(&self, letter: char) -> bool {
        match self {
            Self::Any => true,
            Self::One(ranges, inside) => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&letter)) == *inside
            }
        }
    }
}

fn parse(pattern: &str) -> Vec<Item> {
    let letters: Vec<char> = pattern.chars().collect();
    let (mut items, mut at) = (Vec::new(), 0);
    while let Some(letter) = letters.get(at) {
        at += 1;
        match letter {
            '*' if items.last() == Some(&Item::Any) => {}
            '*' => items.push(Item::Any),
            '?' => items.push(Item::One(Vec::new(), false)),
            '[' => match set(&letters[at..]) {
                Some((item, length)) => {
                    items.push(item);
                    at += length;
                }
                // Without its end it is a letter like others.
                None => items.push(Item::One(vec![('[', '[')], true)),
            },
            other => items.push(Item::One(vec![(*other, *other)], true)),
        }
    }
    items
}

/// What follows `[`: the set, and its length with the closing bracket.
fn set(letters: &[char]) -> Option<(Item, usize)> {
    let inside = letters.first() != Some(&'!');
    let start = usize::from(!inside);
    // A bracket that comes first is one of the letters.
    let end = start + 1 + letters.get(start + 1..)?.iter().position(|letter| *letter == ']')?;
    let (mut ranges, mut at) = (Vec::new(), start);
    while at < end {
        if at + 2 < end && letters[at + 1] == '-' {
            ranges.push((letters[at], letters[at + 2]));
            at += 3;
        } else {
            ranges.push((letters[at], letters[at]));
            at += 1;
        }
    }
    Some((Item::One(ranges, inside), end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_hubs_own_clients_do() {
        for (pattern, path, want) in [
            ("*.safetensors", "unet/model.safetensors", true),
            ("*.safetensors", "model.safetensors.index.json", false),
            ("model.safetensors", "unet/model.safetensors", false),
            ("unet/", "unet/config.json", true),
            ("unet/", "vae/config.json", false),
            ("unet/*", "unet/a/b", true),
            ("*/config.json", "config.json", false),
            ("*fp16*", "unet/a.fp16.safetensors", true),
            ("model-0000?-of-*", "model-00001-of-00002.bin", true),
            ("v[12].ckpt", "v1.ckpt", true),
            ("v[!12].ckpt", "v1.ckpt", false),
            ("v[0-9].ckpt", "v7.ckpt", true),
            ("v[]x].ckpt", "v].ckpt", true),
            ("v[.ckpt", "v[.ckpt", true),
            ("v[", "v", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("ä*", "äöü", true),
        ] {
            assert_eq!(matches(pattern, path), want, "{pattern} {path}");
        }
        // Would take longer than the world exists if every star could take back.
        assert!(!matches(&"*a".repeat(200), &format!("{}b", "a".repeat(2000))));
    }
}
