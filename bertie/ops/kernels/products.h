// Products of small matrices in fp32; the sums of a tile stay in registers.
#pragma once

#include "vectors.h"

// c (ROWS x COLUMNS * LANES) = or += a (ROWS x depth) b (depth x COLUMNS * LANES). Strides are in floats. `a` may have
// any two strides, so a transposed matrix is read in place.
template <int ROWS, int COLUMNS>
inline void tile(const float* a, long a_row, long a_step, const float* b, long b_row, float* c, long c_row, int depth,
                 bool add) {
    Floats sums[ROWS][COLUMNS];
    for (int row = 0; row < ROWS; row++)
        for (int column = 0; column < COLUMNS; column++)
            sums[row][column] = add ? load(c + row * c_row + column * LANES) : Floats{};
    for (int step = 0; step < depth; step++) {
        Floats right[COLUMNS];
        for (int column = 0; column < COLUMNS; column++) right[column] = load(b + step * b_row + column * LANES);
        for (int row = 0; row < ROWS; row++) {
            Floats left = splat(a[row * a_row + step * a_step]);
            for (int column = 0; column < COLUMNS; column++) sums[row][column] += left * right[column];
        }
    }
    for (int row = 0; row < ROWS; row++)
        for (int column = 0; column < COLUMNS; column++) store(c + row * c_row + column * LANES, sums[row][column]);
}

template <int COLUMNS>
inline void strip(const float* a, long a_row, long a_step, const float* b, long b_row, float* c, long c_row, int rows,
                  int depth, bool add) {
    constexpr int TALL = 6;  // 6 x 2 sums leave room in 16 registers, 6 x 4 in 32
    int row = 0;
    for (; row + TALL <= rows; row += TALL)
        tile<TALL, COLUMNS>(a + row * a_row, a_row, a_step, b, b_row, c + row * c_row, c_row, depth, add);
    for (; row + 2 <= rows; row += 2)
        tile<2, COLUMNS>(a + row * a_row, a_row, a_step, b, b_row, c + row * c_row, c_row, depth, add);
    for (; row < rows; row++)
        tile<1, COLUMNS>(a + row * a_row, a_row, a_step, b, b_row, c + row * c_row, c_row, depth, add);
}

// c (rows x columns) = or += a (rows x depth) b (depth x columns); `columns` is a multiple of LANES.
inline void multiply(const float* a, long a_row, long a_step, const float* b, long b_row, float* c, long c_row,
                     int rows, int columns, int depth, bool add) {
    constexpr int WIDE = LANES == 16 ? 4 : 2;
    int column = 0;
    for (; column + WIDE * LANES <= columns; column += WIDE * LANES)
        strip<WIDE>(a, a_row, a_step, b + column, b_row, c + column, c_row, rows, depth, add);
    for (; column + 2 * LANES <= columns; column += 2 * LANES)
        strip<2>(a, a_row, a_step, b + column, b_row, c + column, c_row, rows, depth, add);
    for (; column < columns; column += LANES)
        strip<1>(a, a_row, a_step, b + column, b_row, c + column, c_row, rows, depth, add);
}
