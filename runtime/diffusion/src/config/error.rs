//! What can be wrong with a model's configuration.

/// Why a network of this shape is not built.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the {component} has no `{tensor}`: the file is incomplete or of another family")]
    Missing { component: &'static str, tensor: String },
    #[error("`{tensor}` has the shape {shape:?}, which no {component} has")]
    Shape { component: &'static str, tensor: String, shape: Vec<usize> },
    #[error("the {component} has {what} = {value}, the limit is {limit}")]
    Limit { component: &'static str, what: &'static str, value: usize, limit: usize },
    #[error("the {component} has {channels} channels, which {what} = {divisor} does not divide")]
    Indivisible { component: &'static str, channels: usize, what: &'static str, divisor: usize },
    #[error("{component}/config.json: `{key}` = {value} is not supported, only {supported}")]
    Unsupported { component: &'static str, key: String, value: String, supported: String },
}

impl ConfigError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "MissingTensor",
            Self::Shape { .. } => "WrongShape",
            Self::Limit { .. } | Self::Indivisible { .. } => "InvalidConfig",
            Self::Unsupported { .. } => "UnsupportedModel",
        }
    }

    /// A configuration does not change by reading it again.
    pub fn retriable(&self) -> bool {
        match self {
            Self::Missing { .. }
            | Self::Shape { .. }
            | Self::Limit { .. }
            | Self::Indivisible { .. }
            | Self::Unsupported { .. } => false,
        }
    }
}

/// Refuses a value above its limit or below one.
pub(super) fn within(
    component: &'static str,
    what: &'static str,
    value: usize,
    limit: usize,
) -> Result<usize, ConfigError> {
    if value == 0 || value > limit {
        return Err(ConfigError::Limit { component, what, value, limit });
    }
    Ok(value)
}

/// Refuses channels that cannot be divided evenly.
pub(super) fn divides(
    component: &'static str,
    what: &'static str,
    divisor: usize,
    channels: usize,
) -> Result<(), ConfigError> {
    if divisor == 0 || !channels.is_multiple_of(divisor) {
        return Err(ConfigError::Indivisible { component, channels, what, divisor });
    }
    Ok(())
}
