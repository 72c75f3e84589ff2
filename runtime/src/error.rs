//! How an error becomes text: the chain of its causes, in one line.

use std::error::Error;

/// The message of `error` and of every cause under it, joined by colons; a cause that only repeats the text
/// above it is left out.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
