//! From any rows to passes.

use candle_core::{Result, Tensor};

use crate::unet::Unet;

use super::row::{Row, merged};

/// Predictions of all rows, in their order, in as few passes of at most `max_rows` as their shapes allow.
pub(super) fn forward(unet: &Unet, rows: &[Row], max_rows: usize) -> Result<Vec<Tensor>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let open = groups.iter_mut().find(|g| g.len() < max_rows.max(1) && rows[g[0]].fits(row));
        match open {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    let mut out: Vec<Option<Tensor>> = vec![None; rows.len()];
    for group in groups {
        let members: Vec<&Row> = group.iter().map(|i| &rows[*i]).collect();
        for (index, prediction) in group.into_iter().zip(merged(unet, &members)?) {
            out[index] = Some(prediction);
        }
    }
    Ok(out.into_iter().map(|p| p.expect("every row is in one group")).collect())
}
