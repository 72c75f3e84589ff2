//! What can be asked of a schedule besides its name.

/// The model whose measured noise levels `Align Your Steps` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AlignedModel {
    /// SD 1.5; A1111 also takes it for SD 2.
    #[default]
    Sd1,
    Sdxl,
}

/// Settings of the schedules; the default is what A1111 does unasked.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SigmaOptions {
    /// Curvature of Karras (unset: 7) and of polyexponential (unset: 1).
    pub rho: Option<f32>,
    /// Smallest noise level, where a schedule asks for one; unset: the model's.
    pub sigma_min: Option<f32>,
    /// Largest noise level, where a schedule asks for one; unset: the model's.
    pub sigma_max: Option<f32>,
    pub aligned: AlignedModel,
}
