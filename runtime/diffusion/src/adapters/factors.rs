//! What a module of an adapter is made of, checked to be consistent in itself.
//!
//! Facts: LyCORIS' `modules/{locon,loha,lokr,full,norms,ia3}.py`, PEFT's `tuners/{lora,ia3}`. How they are
//! multiplied out is in `delta.rs`.

use candle_core::Tensor;

use super::error::AdapterError;
use super::names::Component;

/// Largest rank believed. No layer of SD 1.x to SDXL has more than 1,280 independent rows, and a core of
/// this size times the widest layer still is under 200 MB.
pub(super) const MAX_RANK: usize = 4096;

/// A tensor of the file, brought into the form in which it is computed with.
#[derive(Debug, Clone)]
pub(super) struct Factor {
    /// Its key, for messages.
    pub key: String,
    /// Its shape in the file, for messages.
    pub shape: Vec<usize>,
    pub tensor: Tensor,
}

impl Factor {
    fn rows(&self) -> usize {
        self.tensor.dims().first().copied().unwrap_or(1)
    }

    fn columns(&self) -> usize {
        self.tensor.dims().get(1).copied().unwrap_or(1)
    }

    fn damaged(&self, expected: &'static str) -> AdapterError {
        AdapterError::Shape { tensor: self.key.clone(), shape: self.shape.clone(), expected }
    }

    fn reshaped(self, tensor: candle_core::Result<Tensor>) -> Result<Self, AdapterError> {
        let tensor = tensor.map_err(|source| AdapterError::Tensor { tensor: self.key.clone(), source })?;
        Ok(Self { tensor, ..self })
    }

    /// As `[first, all others]`.
    ///
    /// # Errors
    /// It has fewer than two dimensions, or none of its elements.
    pub(super) fn matrix(self) -> Result<Self, AdapterError> {
        if self.shape.len() < 2 || self.shape.contains(&0) {
            return Err(self.damaged("a matrix or the weight of a convolution is needed"));
        }
        let flat = self.tensor.flatten_from(1);
        self.reshaped(flat)
    }

    fn transposed(self) -> Result<Self, AdapterError> {
        let turned = self.tensor.t().and_then(|t| t.contiguous());
        self.reshaped(turned)
    }

    /// As `[n, m, positions of the kernel]`.
    fn core(self) -> Result<Self, AdapterError> {
        if self.shape.len() < 2 || self.shape.contains(&0) {
            return Err(self.damaged("the core between two matrices is needed"));
        }
        let cube = self.tensor.reshape((self.shape[0], self.shape[1], ()));
        self.reshaped(cube)
    }

    /// As a vector.
    pub(super) fn vector(self) -> Result<Self, AdapterError> {
        if self.tensor.elem_count() == 0 {
            return Err(self.damaged("a vector is needed"));
        }
        let flat = self.tensor.flatten_all();
        self.reshaped(flat)
    }
}

/// up · down, with a core between them in the Tucker form.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    /// `[out, n]`.
    pub up: Factor,
    /// `[n, in · kernel]`, or `[m, in]` beside a core.
    pub down: Factor,
    /// `[n, m, kernel]`.
    pub core: Option<Factor>,
}

impl Pair {
    /// Checks that the factors can be multiplied. `transposed`: `up` is stored as `[n, out]`, as LoHa and
    /// LoKr do it beside a core.
    ///
    /// # Errors
    /// The ranks differ or are out of bounds.
    pub(super) fn new(
        up: Factor,
        down: Factor,
        core: Option<Factor>,
        transposed: bool,
    ) -> Result<Self, AdapterError> {
        let (mut up, down) = (up.matrix()?, down.matrix()?);
        if transposed && core.is_some() {
            up = up.transposed()?;
        }
        let core = core.map(Factor::core).transpose()?;
        let mismatch = |a: &Factor, b: &Factor| AdapterError::Inconsistent {
            tensor: a.key.clone(),
            shape: a.shape.clone(),
            other: b.key.clone(),
            other_shape: b.shape.clone(),
        };
        match &core {
            None if up.columns() != down.rows() => return Err(mismatch(&up, &down)),
            Some(core) if up.columns() != core.rows() => return Err(mismatch(core, &up)),
            Some(core) if down.rows() != core.columns() => return Err(mismatch(core, &down)),
            None | Some(_) => {}
        }
        for (factor, rank) in [(&up, up.columns()), (&down, down.rows())] {
            if rank > MAX_RANK {
                return Err(AdapterError::Rank { tensor: factor.key.clone(), rank, limit: MAX_RANK });
            }
        }
        Ok(Self { up, down, core })
    }

    /// What alpha is divided by.
    pub(super) fn rank(&self) -> usize {
        self.down.rows()
    }

    /// Positions of the kernel that the core adds.
    fn kernel(&self) -> usize {
        self.core.as_ref().map_or(1, |c| c.tensor.dims()[2])
    }

    fn out(&self) -> usize {
        self.up.rows()
    }

    fn columns(&self) -> usize {
        self.down.columns().saturating_mul(self.kernel())
    }
}

/// One side of a Kronecker product.
#[derive(Debug, Clone)]
pub(super) enum Half {
    /// `[rows, columns]`.
    Whole(Factor),
    Product(Pair),
}

impl Half {
    fn out(&self) -> usize {
        match self {
            Self::Whole(f) => f.rows(),
            Self::Product(p) => p.out(),
        }
    }

    fn columns(&self) -> usize {
        match self {
            Self::Whole(f) => f.columns(),
            Self::Product(p) => p.columns(),
        }
    }

    fn last(&self) -> &Factor {
        match self {
            Self::Whole(f) => f,
            Self::Product(p) => &p.down,
        }
    }
}

/// How the change of a weight is stored.
#[derive(Debug, Clone)]
pub(super) enum Factors {
    /// The change itself: `diff`, `w_norm`.
    Full(Factor),
    /// LoRA, LoCon.
    LowRank(Pair),
    /// LoHa: two products, multiplied element by element.
    Hadamard(Pair, Pair),
    /// LoKr.
    Kronecker(Half, Half),
    /// IA3: rows (outputs) or columns (inputs) are multiplied.
    Scaled { by: Factor, on_input: bool, style: Ia3 },
}

/// The two ways to store IA3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ia3 {
    /// LyCORIS: multiplied by one plus the value.
    Offset,
    /// PEFT: multiplied by the value, the bias too where outputs are.
    Absolute,
}

/// DoRA: the norms that rows or columns have afterwards.
#[derive(Debug, Clone)]
pub(super) struct Norms {
    pub values: Factor,
    pub of_rows: bool,
}

/// Everything an adapter says about one module.
#[derive(Debug)]
pub(super) struct Module {
    /// Its name in the file.
    pub stem: String,
    pub component: Component,
    /// Its name with underscores.
    pub path: String,
    pub factors: Option<Factors>,
    /// alpha / rank.
    pub scale: f64,
    pub norms: Option<Norms>,
    /// Added to the bias: `diff_b`, `b_norm`.
    pub bias: Option<Factor>,
}

/// A factor that does not go with a tensor of the model.
#[derive(Debug)]
pub(super) struct Difference {
    pub tensor: String,
    pub shape: Vec<usize>,
    pub side: &'static str,
    pub found: usize,
    pub expected: usize,
}

impl Module {
    /// Does the change of the weight have `rows` rows of `columns` (inputs times kernel)? `None`: yes.
    pub(super) fn misfit(&self, shape: &[usize]) -> Option<Difference> {
        let rows = shape.first().copied().unwrap_or(1);
        let columns = shape.iter().skip(1).product::<usize>();
        let inputs = shape.get(1).copied().unwrap_or(1);
        let kernel = columns / inputs.max(1);
        let outputs = |f: &Factor, found| misfit(f, "outputs", found, rows);
        let reads = |f: &Factor, found: usize| {
            // Told by the input where it can be, as 768 and not as 6912.
            let by_input = found.is_multiple_of(kernel.max(1));
            let (found, expected) = if by_input { (found / kernel.max(1), inputs) } else { (found, columns) };
            misfit(f, if by_input { "inputs" } else { "inputs with kernel" }, found, expected)
        };
        let pair = |p: &Pair| reads(&p.down, p.columns()).or_else(|| outputs(&p.up, p.out()));
        let of_factors = self.factors.as_ref().and_then(|factors| match factors {
            Factors::Full(f) => {
                let elements = f.tensor.elem_count();
                misfit(f, "elements", elements, rows * columns).or_else(|| outputs(f, f.rows()))
            }
            Factors::LowRank(p) => pair(p),
            Factors::Hadamard(a, b) => pair(a).or_else(|| pair(b)),
            Factors::Kronecker(a, b) => reads(b.last(), a.columns().saturating_mul(b.columns()))
                .or_else(|| outputs(b.last(), a.out().saturating_mul(b.out()))),
            Factors::Scaled { by, on_input: true, .. } => {
                misfit(by, "inputs", by.tensor.elem_count(), inputs)
            }
            Factors::Scaled { by, on_input: false, .. } => outputs(by, by.tensor.elem_count()),
        });
        of_factors.or_else(|| {
            let norms = self.norms.as_ref()?;
            let expected = if norms.of_rows { rows } else { inputs };
            misfit(&norms.values, "norms", norms.values.tensor.elem_count(), expected)
        })
    }
}

fn misfit(f: &Factor, side: &'static str, found: usize, expected: usize) -> Option<Difference> {
    (found != expected).then(|| Difference {
        tensor: f.key.clone(),
        shape: f.shape.clone(),
        side,
        found,
        expected,
    })
}
