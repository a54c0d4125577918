//! Numbers in rows, and the little arithmetic that a network of one hidden layer
//! needs. Everything is added up in one fixed order, so that the same numbers
//! come out on every processor, whatever its vector instructions are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// Bytes of one number.
const BYTES: usize = size_of::<f32>();

/// Numbers of one or two dimensions, row after row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Tensor {
    /// What `next` gives, number after number.
    pub(crate) fn from_fn(shape: &[usize], next: impl FnMut() -> f32) -> Self {
        let count = shape.iter().product();
        Self { shape: shape.to_vec(), values: std::iter::repeat_with(next).take(count).collect() }
    }

    /// Nothing but zeros.
    pub(crate) fn zeros(shape: &[usize]) -> Self {
        Self::from_fn(shape, || 0.0)
    }

    /// Rows and columns; of a vector its length.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// All numbers, row after row.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Row by row.
    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.columns())
    }

    pub(crate) fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [f32]> {
        let columns = self.columns();
        self.values.chunks_exact_mut(columns)
    }

    /// One row; none past the last.
    pub(crate) fn row(&self, row: usize) -> Option<&[f32]> {
        self.values.get(row * self.columns()..(row + 1) * self.columns())
    }

    pub(crate) fn row_mut(&mut self, row: usize) -> Option<&mut [f32]> {
        let columns = self.columns();
        self.values.get_mut(row * columns..(row + 1) * columns)
    }

    /// Numbers in a row.
    fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1).max(1)
    }
}

/// `inputs * weights + bias`, for each row of inputs.
pub(crate) fn linear(inputs: &Tensor, weights: &Tensor, bias: &Tensor) -> Tensor {
    let mut outputs = Tensor::zeros(&[inputs.rows().len(), weights.columns()]);
    for (output, input) in outputs.rows_mut().zip(inputs.rows()) {
        output.copy_from_slice(bias.values());
        for (factor, row) in input.iter().zip(weights.rows()) {
            add_scaled(output, *factor, row);
        }
    }
    outputs
}

/// What [`linear`] passes back to its weights, its bias and its inputs, from
/// what came back to its outputs.
pub(crate) fn linear_backward(inputs: &Tensor, weights: &Tensor, back: &Tensor) -> [Tensor; 3] {
    let mut to_weights = Tensor::zeros(weights.shape());
    let mut to_bias = Tensor::zeros(&[weights.columns()]);
    let mut to_inputs = Tensor::zeros(inputs.shape());
    for ((input, to_input), back) in inputs.rows().zip(to_inputs.rows_mut()).zip(back.rows()) {
        add_scaled(to_bias.values_mut(), 1.0, back);
        for (factor, row) in input.iter().zip(to_weights.rows_mut()) {
            add_scaled(row, *factor, back);
        }
        for (sum, row) in to_input.iter_mut().zip(weights.rows()) {
            *sum = dot(row, back);
        }
    }
    [to_weights, to_bias, to_inputs]
}

/// `sums += factor * row`.
pub(crate) fn add_scaled(sums: &mut [f32], factor: f32, row: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += factor * value;
    }
}

/// Eight sums side by side, which a processor can make at once, and then their sum.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let (a, b) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.0.iter().zip(b.0) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a.1.iter().zip(b.1).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Writes a file of tensors by name, in the format of Hugging Face.
///
/// # Errors
/// The file system's.
pub(crate) fn save(file: &Path, tensors: &BTreeMap<String, &Tensor>) -> Result<()> {
    let bytes: Vec<(&str, &[usize], Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| {
            let bytes = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name.as_str(), tensor.shape(), bytes)
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, shape, bytes)| {
            Ok((*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let content = safetensors::serialize(views, None)?;
    fs::write(file, content).with_context(|| format!("writing {}", file.display()))
}

/// Reads what [`save`] wrote.
///
/// # Errors
/// A file that is missing or torn, or holds other numbers than `f32`.
pub(crate) fn load(file: &Path) -> Result<BTreeMap<String, Tensor>> {
    let reading = || format!("reading {}", file.display());
    let content = fs::read(file).with_context(reading)?;
    let tensors = SafeTensors::deserialize(&content).with_context(reading)?;
    let tensors = tensors.iter().map(|(name, view)| {
        ensure!(view.dtype() == Dtype::F32, "{name} is not of 32-bit floats");
        let values = view.data().as_chunks::<BYTES>().0;
        let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok((name.to_owned(), Tensor { shape: view.shape().to_vec(), values }))
    });
    tensors.collect::<Result<_>>().with_context(reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
        let mut values = values.iter().copied();
        Tensor::from_fn(shape, || values.next().unwrap())
    }

    #[test]
    fn rows_times_weights_plus_bias() {
        let inputs = tensor(&[2, 3], &[1.0, 2.0, 3.0, 0.0, -1.0, 4.0]);
        let weights = tensor(&[3, 2], &[1.0, 10.0, 2.0, 20.0, 3.0, 30.0]);
        let bias = tensor(&[2], &[0.5, -0.5]);
        let outputs = linear(&inputs, &weights, &bias);
        assert_eq!(outputs, tensor(&[2, 2], &[14.5, 139.5, 10.5, 99.5]));

        let back = tensor(&[2, 2], &[1.0, 0.0, 2.0, 1.0]);
        let [to_weights, to_bias, to_inputs] = linear_backward(&inputs, &weights, &back);
        assert_eq!(to_weights, tensor(&[3, 2], &[1.0, 0.0, 0.0, -1.0, 11.0, 4.0]));
        assert_eq!(to_bias, tensor(&[2], &[3.0, 1.0]));
        assert_eq!(to_inputs, tensor(&[2, 3], &[1.0, 2.0, 3.0, 12.0, 24.0, 36.0]));
    }

    #[test]
    fn a_dot_product_of_any_length() {
        for length in [0, 1, 7, 8, 9, 31] {
            let values: Vec<f32> = (0..length).map(|n| n as f32).collect();
            let expected = (0..length).map(|n| n * n).sum::<i32>() as f32;
            assert_eq!(dot(&values, &values), expected);
        }
    }

    #[test]
    fn a_file_gives_back_names_shapes_and_bits() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state.safetensors");
        let (one, two) = (tensor(&[2], &[0.1, f32::MIN_POSITIVE]), tensor(&[1, 1], &[-0.0]));
        save(&file, &BTreeMap::from([("one".to_owned(), &one), ("two".to_owned(), &two)])).unwrap();
        let loaded = load(&file).unwrap();
        assert_eq!(loaded.get("one"), Some(&one));
        assert_eq!(loaded["two"].values()[0].to_bits(), (-0.0_f32).to_bits());

        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        assert!(load(&file).is_err(), "a torn file");
    }
}
