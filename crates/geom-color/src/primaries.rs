//! Chromaticities, primaries, and 3×3 matrices between color spaces.

/// A chromaticity: x and y of the CIE 1931 diagram.
pub type Chromaticity = (f64, f64);

/// A 3×3 matrix, row by row.
pub type Matrix = [[f64; 3]; 3];

/// Chromaticities of red, green, blue and white.
pub type Primaries = [Chromaticity; 4];

/// White point D65.
pub(crate) const D65: Chromaticity = (0.3127, 0.3290);

/// sRGB and ITU-R BT.709.
pub const SRGB: Primaries = [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06), D65];
/// Display P3: the primaries of DCI-P3 with D65.
pub const DISPLAY_P3: Primaries = [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65];
/// ITU-R BT.2020.
pub const BT2020: Primaries = [(0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65];

fn multiply(left: &Matrix, right: &Matrix) -> Matrix {
    let cell = |row: usize, column: usize| (0..3).map(|index| left[row][index] * right[index][column]).sum();
    std::array::from_fn(|row| std::array::from_fn(|column| cell(row, column)))
}

/// Returns the product of a matrix and a column vector.
pub(crate) fn apply(matrix: &Matrix, vector: [f64; 3]) -> [f64; 3] {
    std::array::from_fn(|row| (0..3).map(|column| matrix[row][column] * vector[column]).sum())
}

/// Inverts a matrix. `None` if it is singular, as for primaries on one line.
pub(crate) fn invert(of: &Matrix) -> Option<Matrix> {
    let minor = |row: usize, column: usize| {
        let (a, b) = ((row + 1) % 3, (row + 2) % 3);
        let (c, d) = ((column + 1) % 3, (column + 2) % 3);
        of[a][c] * of[b][d] - of[a][d] * of[b][c]
    };
    let determinant: f64 = (0..3).map(|column| of[0][column] * minor(0, column)).sum();
    (determinant.abs() > 1e-9)
        .then(|| std::array::from_fn(|row| std::array::from_fn(|column| minor(column, row) / determinant)))
}

/// Returns CIE XYZ of a chromaticity, with Y = 1. `None` if y is zero.
pub(crate) fn xyz((x, y): Chromaticity) -> Option<[f64; 3]> {
    (y > 1e-6).then(|| [x / y, 1.0, (1.0 - x - y) / y])
}

/// Returns the matrix from linear RGB of these primaries to CIE XYZ.
pub(crate) fn to_xyz(primaries: &Primaries) -> Option<Matrix> {
    let [red, green, blue, white] = *primaries;
    let columns = [xyz(red)?, xyz(green)?, xyz(blue)?];
    let matrix: Matrix = std::array::from_fn(|row| std::array::from_fn(|column| columns[column][row]));
    let scale = apply(&invert(&matrix)?, xyz(white)?);
    Some(std::array::from_fn(|row| std::array::from_fn(|column| matrix[row][column] * scale[column])))
}

/// Returns Bradford's chromatic adaptation from one white point to another (ICC.1:2022, annex E).
fn adaptation(from: Chromaticity, to: Chromaticity) -> Option<Matrix> {
    const BRADFORD: Matrix =
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]];
    let (from, to) = (apply(&BRADFORD, xyz(from)?), apply(&BRADFORD, xyz(to)?));
    let mut scale = [[0.0; 3]; 3];
    for cone in 0..3 {
        scale[cone][cone] = to[cone] / from[cone];
    }
    Some(multiply(&invert(&BRADFORD)?, &multiply(&scale, &BRADFORD)))
}

/// Returns the matrix from linear RGB of some primaries to linear RGB of others.
///
/// White is mapped to white: if the white points differ, Bradford's adaptation goes between. `None`
/// if either primaries span no color space.
pub fn conversion_matrix(from: &Primaries, to: &Primaries) -> Option<Matrix> {
    let to_adapted_xyz = multiply(&adaptation(from[3], to[3])?, &to_xyz(from)?);
    Some(multiply(&invert(&to_xyz(to)?)?, &to_adapted_xyz))
}

/// Returns a number in the kernel's S31.32 format: sign and magnitude (drm_mode.h,
/// `drm_color_ctm`).
pub(crate) fn s31_32(value: f64) -> u64 {
    let magnitude = (value.abs() * 4_294_967_296.0).round() as u64;
    magnitude | u64::from(value < 0.0) << 63
}
