//! Query strings whose parameters may repeat: values of one are alternatives (specs/aws-extension.md §2).

/// What one parameter asks for; without a value everything goes through.
pub(super) struct Filter(Vec<String>);

impl Filter {
    pub(super) fn of(query: Option<&str>, name: &str) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let values = pairs.filter(|(own, value)| own == name && !value.is_empty());
        Self(values.map(|(_, value)| value.into_owned()).collect())
    }

    /// Does a record with this word go through?
    pub(super) fn lets(&self, word: &str) -> bool {
        // The document and the service spell this status differently.
        let same = |asked: &String| asked == word || (word == "Initial" && asked == "Initialed");
        self.0.is_empty() || self.0.iter().any(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_values_are_alternatives() {
        let query = Some("types=Lora&types=Stable-diffusion&status=Initialed&status=");
        let types = Filter::of(query, "types");
        assert!(types.lets("Lora") && types.lets("Stable-diffusion") && !types.lets("embeddings"));
        let status = Filter::of(query, "status");
        assert!(status.lets("Initial") && !status.lets("Complete"));
        assert!(Filter::of(query, "other").lets("x") && Filter::of(None, "types").lets("x"));
    }
}
