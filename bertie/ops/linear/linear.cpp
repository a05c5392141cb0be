// x W^T + b for prediction, in floats, with a weight matrix that is read in place.
//
// Every output is a sum over the inputs in a fixed order, whatever the number of rows and of threads. So the outputs of
// a row have the same bits alone and among others. The library of torch chooses the order by the number of rows.
//
// A strip of columns, DEPTH inputs at a time, is copied into the cache in the order of its use. TALL rows by one strip
// of sums fill the registers.
#include <algorithm>

#include "parallel.h"
#include "vectors.h"

namespace {

constexpr int PARTS = 2, STRIP = PARTS * LANES;       // vectors and columns of a strip
constexpr int TALL = LANES == 16 ? 12 : 6;            // TALL x PARTS sums leave room in 32 or 16 registers
constexpr int DEPTH = 384;                            // a strip of floats takes at most half of a first-level cache
constexpr int64_t ROWS = 40 * TALL, FEW = 1 << 18;    // rows of a block; products that take less than waking a thread

// Copy a strip of a matrix (outputs x inputs) as (depth x STRIP) floats, with zeros for the columns beyond `wide`.
template <class T>
void pack(const T* weight, int64_t inputs, int wide, int depth, float* packed) {
    const int whole = wide == STRIP ? depth / LANES * LANES : 0;
    for (int input = 0; input < whole; input += LANES)
        for (int part = 0; part < STRIP; part += LANES) {
            Floats square[LANES];
            for (int lane = 0; lane < LANES; lane++) square[lane] = load(weight + (part + lane) * inputs + input);
            turn(square);
            for (int lane = 0; lane < LANES; lane++) store(packed + (input + lane) * STRIP + part, square[lane]);
        }
    for (int input = whole; input < depth; input++)
        for (int column = 0; column < STRIP; column++)
            packed[input * STRIP + column] = column < wide ? one(weight + column * inputs + input) : 0.0f;
}

// sums (HEIGHT x STRIP) = values (HEIGHT x depth) strip.
template <int HEIGHT>
inline void dots(const float* values, int64_t inputs, int depth, const float* strip, float* sums) {
    Floats totals[HEIGHT][PARTS] = {};
    for (int input = 0; input < depth; input++) {
        Floats right[PARTS];
        for (int part = 0; part < PARTS; part++) right[part] = load(strip + input * STRIP + part * LANES);
        for (int row = 0; row < HEIGHT; row++) {
            const Floats left = splat(values[row * inputs + input]);
            for (int part = 0; part < PARTS; part++) totals[row][part] += left * right[part];
        }
    }
    for (int row = 0; row < HEIGHT; row++)
        for (int part = 0; part < PARTS; part++) store(sums + row * STRIP + part * LANES, totals[row][part]);
}

template <int HEIGHT>
inline void dots_of(int height, const float* values, int64_t inputs, int depth, const float* strip, float* sums) {
    if (height == HEIGHT) dots<HEIGHT>(values, inputs, depth, strip, sums);
    else if constexpr (HEIGHT > 1) dots_of<HEIGHT - 1>(height, values, inputs, depth, strip, sums);
}

struct Shape {
    int64_t rows, inputs, outputs;  // T, I, O
    int32_t threads;
};

// Add the sums of a strip to the output, which begins as the bias.
void add(const float* sums, int height, int wide, int64_t outputs, const float* bias, bool first, float* to) {
    for (int row = 0; row < height; row++, sums += STRIP, to += outputs)
        for (int at = 0; at < wide; at += LANES) {
            const int some = std::min(LANES, wide - at);
            const float* from = first ? bias : to;
            const Floats before = !from ? Floats{} : some == LANES ? load(from + at) : load_some(from + at, some);
            const Floats values = load(sums + at) + before;
            if (some == LANES) store(to + at, values);
            else store_some(to + at, values, some);
        }
}

template <class T>
void multiply(const Shape& shape, const float* values, const T* weight, const float* bias, float* output) {
    const int64_t inputs = shape.inputs, outputs = shape.outputs, strips = (outputs + STRIP - 1) / STRIP;
    const int64_t blocks = (shape.rows + ROWS - 1) / ROWS;
    const bool few = shape.rows * inputs * outputs <= FEW;
    together(few ? 1 : shape.threads, [=](Team team) {
        alignas(64) float strip[DEPTH * STRIP], sums[TALL * STRIP];
        const Part share(team, blocks * strips);  // a thread's pieces: strips of a block of rows, and of the next ones
        for (int64_t piece = share.begin; piece < share.end;) {
            const int64_t block = piece / strips, begin = piece % strips, end = std::min(strips, begin + share.end - piece);
            const int64_t first = block * ROWS, last = std::min(shape.rows, first + ROWS);
            for (int64_t input = 0; input < inputs; input += DEPTH)
                for (int64_t column = begin * STRIP; column < end * STRIP; column += STRIP) {
                    const int wide = (int)std::min<int64_t>(STRIP, outputs - column);
                    const int depth = (int)std::min<int64_t>(DEPTH, inputs - input);
                    pack(weight + column * inputs + input, inputs, wide, depth, strip);
                    for (int64_t row = first; row < last; row += TALL) {
                        const int height = (int)std::min<int64_t>(TALL, last - row);
                        dots_of<TALL>(height, values + row * inputs + input, inputs, depth, strip, sums);
                        add(sums, height, wide, outputs, bias ? bias + column : nullptr, input == 0,
                            output + row * outputs + column);
                    }
                }
            piece += end - begin;
        }
    });
}

}  // namespace

extern "C" void linear_float(const Shape* shape, const float* values, const float* weight, const float* bias,
                             float* output) {
    multiply(*shape, values, weight, bias, output);
}

extern "C" void linear_bfloat(const Shape* shape, const float* values, const BFloat* weight, const float* bias,
                              float* output) {
    multiply(*shape, values, weight, bias, output);
}
