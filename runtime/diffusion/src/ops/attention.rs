//! Scaled dot-product attention without ever holding all scores.

use candle_core::{D, Result, Tensor};

use super::activation::softmax;
use super::gradient::link3;

/// Most scores held at once, in elements (64 MiB). Four times more does not run faster; four times
/// less begins to cost at 64x64 latents, where a slice gets under 128 rows of queries.
pub const MAX_SCORES: usize = 1 << 24;

/// How `[batch, length, heads·width]` is to be split.
#[derive(Debug, Clone, Copy)]
pub struct AttentionShape {
    pub heads: usize,
    /// Forbid a query to see keys behind it.
    pub causal: bool,
}

/// softmax(q·kᵀ/√width)·v per head. `q: [batch, queries, heads·width]`, `k`, `v: [batch, keys,
/// heads·width]`; the result has the shape of `q`.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, shape: AttentionShape) -> Result<Tensor> {
    if q.track_op() || k.track_op() || v.track_op() {
        return trained(q, k, v, shape, MAX_SCORES);
    }
    attention_sliced(q, k, v, shape, MAX_SCORES)
}

/// As a function of all three. The scores are not kept: the backward computes each slice again.
pub(super) fn trained(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: AttentionShape,
    max_scores: usize,
) -> Result<Tensor> {
    let y = attention_sliced(&q.detach(), &k.detach(), &v.detach(), shape, max_scores)?;
    link3("attention", [q, k, v], y, move |all: [&Tensor; 3], grad: &Tensor| {
        let plain = all.map(Tensor::detach);
        let grad = grad.contiguous()?;
        let mut parts: [Vec<Tensor>; 3] = Default::default();
        for i in 0..plain[0].dim(0)? {
            let one = item_gradients(&plain, &grad, i, shape, max_scores)?;
            parts.iter_mut().zip(one).for_each(|(all, one)| all.push(one));
        }
        let [q, k, v] = parts.map(|all| Tensor::cat(&all, 0));
        let wanted = |x: &Tensor, grad: Result<Tensor>| if x.track_op() { grad.map(Some) } else { Ok(None) };
        Ok([wanted(all[0], q)?, wanted(all[1], k)?, wanted(all[2], v)?])
    })
}

/// The gradients of one batch item's queries, keys and values.
fn item_gradients(
    [q, k, v]: &[Tensor; 3],
    grad: &Tensor,
    item: usize,
    shape: AttentionShape,
    max_scores: usize,
) -> Result<[Tensor; 3]> {
    let (_, queries, channels) = q.dims3()?;
    let (keys, width) = (k.dim(1)?, channels / shape.heads);
    let split = |x: &Tensor, length: usize| {
        x.get(item)?.reshape((length, shape.heads, width))?.transpose(0, 1)?.contiguous()
    };
    let join = |x: Tensor| {
        let length = x.dim(1)?;
        x.transpose(0, 1)?.contiguous()?.reshape((1, length, channels))
    };
    let scale = 1.0 / (width as f64).sqrt();
    let (q, k, v, grad) = (split(q, queries)?, split(k, keys)?, split(v, keys)?, split(grad, queries)?);
    let (kt, vt) = (k.transpose(1, 2)?.contiguous()?, v.transpose(1, 2)?.contiguous()?);
    let rows = (max_scores / (shape.heads * keys).max(1)).clamp(1, queries.max(1));
    let (mut of_q, mut of_k, mut of_v) = (Vec::new(), k.zeros_like()?, v.zeros_like()?);
    for start in (0..queries).step_by(rows) {
        let count = rows.min(queries - start);
        let slice = (q.narrow(1, start, count)?.contiguous()? * scale)?;
        let grad = grad.narrow(1, start, count)?.contiguous()?;
        let mut scores = slice.matmul(&kt)?;
        if shape.causal {
            scores = scores.broadcast_add(&causal_mask(start, count, keys, q.device())?)?;
        }
        let p = softmax(&scores)?;
        of_v = (of_v + p.transpose(1, 2)?.contiguous()?.matmul(&grad)?)?;
        let of_p = grad.matmul(&vt)?;
        let mean = (&of_p * &p)?.sum_keepdim(D::Minus1)?;
        let of_scores = (of_p.broadcast_sub(&mean)? * p)?;
        of_q.push((of_scores.matmul(&k)? * scale)?);
        of_k = (of_k + of_scores.transpose(1, 2)?.contiguous()?.matmul(&slice)?)?;
    }
    Ok([join(Tensor::cat(&of_q, 1)?)?, join(of_k)?, join(of_v)?])
}

/// As [`attention`], with at most `max_scores` scores at once (at least one row of queries).
///
/// Batch items are computed one after the other, so neither the slices nor the result of one depend
/// on how many there are.
pub fn attention_sliced(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    shape: AttentionShape,
    max_scores: usize,
) -> Result<Tensor> {
    let (batch, queries, channels) = q.dims3()?;
    let keys = k.dim(1)?;
    let width = channels / shape.heads;
    let split = |x: &Tensor, i: usize, length: usize| {
        x.get(i)?.reshape((length, shape.heads, width))?.transpose(0, 1)?.contiguous()
    };
    let rows = (max_scores / (shape.heads * keys).max(1)).clamp(1, queries.max(1));
    let scale = 1.0 / (width as f64).sqrt();
    let mut items = Vec::with_capacity(batch);
    for i in 0..batch {
        let q = (split(q, i, queries)? * scale)?;
        let kt = split(k, i, keys)?.transpose(1, 2)?.contiguous()?;
        let v = split(v, i, keys)?;
        let mut slices = Vec::with_capacity(queries.div_ceil(rows));
        for start in (0..queries).step_by(rows) {
            let count = rows.min(queries - start);
            let mut scores = q.narrow(1, start, count)?.contiguous()?.matmul(&kt)?;
            if shape.causal {
                scores = scores.broadcast_add(&causal_mask(start, count, keys, q.device())?)?;
            }
            slices.push(softmax(&scores)?.matmul(&v)?);
        }
        let joined = if slices.len() == 1 { slices.remove(0) } else { Tensor::cat(&slices, 1)? };
        items.push(joined.transpose(0, 1)?.reshape((1, queries, channels))?);
    }
    Tensor::cat(&items, 0)
}

/// Zero where the key is not behind the query, minus infinity where it is.
fn causal_mask(start: usize, count: usize, keys: usize, device: &candle_core::Device) -> Result<Tensor> {
    let mask: Vec<f32> = (start..start + count)
        .flat_map(|query| (0..keys).map(move |key| if key > query { f32::NEG_INFINITY } else { 0.0 }))
        .collect();
    Tensor::from_vec(mask, (1, count, keys), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn noise(shape: (usize, usize, usize), seed: u64) -> Tensor {
        let mut rng = crate::random::TorchRng::new(seed);
        Tensor::from_vec(rng.randn(shape.0 * shape.1 * shape.2), shape, &Device::Cpu).unwrap()
    }

    fn bits(x: &Tensor) -> Vec<u32> {
        x.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|v| v.to_bits()).collect()
    }

    #[test]
    fn slices_and_company_change_no_bit() {
        let (q, k, v) = (noise((2, 50, 32), 1), noise((2, 77, 32), 2), noise((2, 77, 32), 3));
        for causal in [false, true] {
            let shape = AttentionShape { heads: 4, causal };
            let whole = attention(&q, &k, &v, shape).unwrap();
            for max in [4 * 77 * 2, 4 * 77 * 7, 4 * 77 * 49] {
                assert_eq!(bits(&attention_sliced(&q, &k, &v, shape, max).unwrap()), bits(&whole), "{max}");
            }
            let second = |x: &Tensor| x.narrow(0, 1, 1).unwrap();
            let alone = attention(&second(&q), &second(&k), &second(&v), shape).unwrap();
            assert_eq!(bits(&alone), bits(&second(&whole).contiguous().unwrap()));
        }
    }

    #[test]
    fn attention_agrees_with_its_definition() {
        let (q, k, v) = (noise((1, 3, 4), 4), noise((1, 5, 4), 5), noise((1, 5, 4), 6));
        let got = attention(&q, &k, &v, AttentionShape { heads: 2, causal: false }).unwrap();
        let rows = |x: &Tensor| x.get(0).unwrap().to_vec2::<f32>().unwrap();
        let (q, k, v) = (rows(&q), rows(&k), rows(&v));
        let got = rows(&got);
        for (i, row) in got.iter().enumerate() {
            for head in 0..2 {
                let at = head * 2;
                let weight: Vec<f64> = k
                    .iter()
                    .map(|key| {
                        (f64::from(q[i][at] * key[at] + q[i][at + 1] * key[at + 1]) / 2_f64.sqrt()).exp()
                    })
                    .collect();
                let total: f64 = weight.iter().sum();
                for c in at..at + 2 {
                    let want: f64 = weight.iter().zip(&v).map(|(w, v)| w / total * f64::from(v[c])).sum();
                    assert!((f64::from(row[c]) - want).abs() < 1e-6);
                }
            }
        }
    }
}
