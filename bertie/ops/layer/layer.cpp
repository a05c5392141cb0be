// Post-norm encoder layers for inference, in floats, bfloats or 8-bit integers.
//
// Everything except attention is here; the function of attention.cpp is passed as a pointer. A block of rows goes
// through a whole layer while it is in the cache, so each matrix is read once a block. Few rows form a single block,
// and the threads share the columns of the matrices. Sums, norms and the vectors between layers are always floats.
// 8-bit integers have a scale for each row, from its largest value, and a scale for each output ("LLM.int8()", Dettmers
// et al. 2022, section 2.1: vector-wise quantisation).
#include "matrices.h"
#include "normal.h"
#include "parallel.h"

struct Layer {
    Matrix qkv, output, up, down;
    const float *first_weight, *first_bias, *second_weight, *second_bias;  // of the two LayerNorms
    double first_epsilon, second_epsilon;
    int64_t hidden, wide;  // H, I
    int32_t relu;
};

struct Call {
    const Layer* layers;
    int64_t count;  // of layers
    void (*attend)(const void* layout, const void* query, const void* key, const void* value, void* output);
    const void* layout;
    int64_t rows;  // T
    int32_t threads;
};

namespace {

// The type of values between two products: floats in the float kernel, bfloats in the others.
template <class T>
using Stream = std::conditional_t<std::is_same<T, float>::value, float, BFloat>;

// Scratch memory that a thread keeps between calls, aligned to cache lines.
float* scratch(int number, size_t count) {
    thread_local std::vector<float> kept[7];
    if (kept[number].size() < count + 16) kept[number].resize(count + 16);
    return (float*)(((uintptr_t)kept[number].data() + 63) / 64 * 64);
}

// A block of rows as the left side of a product, with the scale of each row for integers.
template <class T>
struct Operand {
    T* values;
    float* scales;
    int64_t size;

    Operand(int number, int64_t all)
        : values((T*)scratch(number, ROWS * all * sizeof(T) / 4)), scales(scratch(number + 1, ROWS)), size(all) {}

    template <class S>
    void take(const S* from, int row) {
        if constexpr (std::is_same<T, uint8_t>::value) {
            Floats most{};
            for (int64_t at = 0; at < size; at += LANES) {
                const Floats x = load(from + at);
                most = larger(most, larger(x, -x));
            }
            typedef uint8_t Bytes __attribute__((vector_size(LANES)));
            const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
            const float step = std::max(largest(most), 1e-30f) / 127.0f, share = 1.0f / step;
            scales[row] = step;
            for (int64_t at = 0; at < size; at += LANES) {
                const Words whole = (Words)(load(from + at) * share + magic) - (0x4B400000u - 128u);
                const Bytes bytes = __builtin_convertvector(whole, Bytes);
                std::memcpy((void*)(values + row * size + at), &bytes, sizeof bytes);
            }
        } else {
            for (int64_t at = 0; at < size; at += LANES) store(values + row * size + at, load(from + at));
        }
    }
};

// Multiply a block by this thread's share of the columns, and call `finish(row, column, values)` for every LANES
// outputs.
template <class T, class F>
void product(const Operand<T>& a, int rows, const Matrix& matrix, const F& finish, Team team = {}) {
    float* sums = scratch(0, (size_t)ROWS * COLUMNS);
    const Part share(team, matrix.outputs / COLUMNS);
    for (int64_t column = share.begin * COLUMNS; column < share.end * COLUMNS; column += COLUMNS) {
        multiply(a.values, rows, matrix, column, sums);
        for (int row = 0; row < rows; row++)
            for (int at = 0; at < COLUMNS; at += LANES) {
                Floats values = load(sums + row * COLUMNS + at);
                const Floats bias = load(matrix.bias + column + at);
                if constexpr (std::is_same<T, uint8_t>::value) {
                    Ints off;
                    std::memcpy(&off, matrix.sums + column + at, sizeof off);
                    values = __builtin_convertvector((Ints)values + off, Floats);
                    values *= load(matrix.scales + column + at) * a.scales[row];
                }
                finish(row, column + at, values + bias);
            }
    }
}

// The activation, as precise as the type of its output.
template <class T>
Floats activate(const Layer& layer, Floats values) {
    if (layer.relu) return larger(values, Floats{});
    if constexpr (std::is_same<T, float>::value) return values * normal(values).below;
    else return values * roughly_below(values);
}

void normalise(float* values, int64_t size, const float* weight, const float* bias, double epsilon) {
    Floats total{}, squares{};
    for (int64_t at = 0; at < size; at += LANES) total += load(values + at);
    const float mean = sum(total) / size;
    for (int64_t at = 0; at < size; at += LANES) {
        const Floats apart = load(values + at) - mean;
        squares += apart * apart;
    }
    const float share = 1.0f / std::sqrt(sum(squares) / size + (float)epsilon);
    for (int64_t at = 0; at < size; at += LANES)
        store(values + at, (load(values + at) - mean) * share * load(weight + at) + load(bias + at));
}

// Run `work(first row, rows)` for every block of rows. Blocks are as few as possible and about equally tall, and every
// thread gets the same number of them.
template <class T, class F>
void blocks(const Call& call, const F& work) {
    if (call.rows <= 0) return;
    const int64_t least = (call.rows + ROWS - 1) / ROWS;
    const int64_t count = (least + call.threads - 1) / call.threads * call.threads;
    const int64_t grain = in_tiles<T>() ? 16 : TALLEST;  // rows that a product computes at once
    const int64_t tall = std::min<int64_t>(ROWS, ((call.rows + count - 1) / count + grain - 1) / grain * grain);
    Turns turns((call.rows + tall - 1) / tall, 1);
    together(call.rows > tall ? call.threads : 1, [&](Team) {
        [[maybe_unused]] const Unit<T> unit;
        turns.each([&](int64_t block) { work(block * tall, (int)std::min(tall, call.rows - block * tall)); });
    });
}

// Compute queries, keys and values of (T, H): (T, 3H).
template <class T>
void project(const Call& call, const Layer& layer, const float* hidden, Stream<T>* qkv) {
    blocks<T>(call, [&](int64_t first, int rows) {
        Operand<T> input(1, layer.hidden);
        for (int row = 0; row < rows; row++) input.take(hidden + (first + row) * layer.hidden, row);
        Stream<T>* to = qkv + first * layer.qkv.outputs;
        product(input, rows, layer.qkv,
                [&](int row, int64_t column, Floats values) { store(to + row * layer.qkv.outputs + column, values); });
    });
}

// Compute the rest of a layer from the output of attention, `seen` (T, H), and the layer's input, `hidden` (T, H).
template <class T>
void finish(const Call& call, const Layer& layer, const float* hidden, const Stream<T>* seen, float* output) {
    const int64_t size = layer.hidden, wide = layer.wide;
    blocks<T>(call, [&](int64_t first, int rows) {
        float* own = output + first * size;
        auto* widened = (Stream<T>*)scratch(5, ROWS * wide * sizeof(Stream<T>) / 4);
        Operand<T> narrow(1, size), broad(3, wide);
        const auto add = [&](int row, int64_t column, Floats values) {
            float* to = own + row * size + column;
            store(to, load(to) + values);
        };
        if (hidden != output) std::copy(hidden + first * size, hidden + (first + rows) * size, own);
        for (int row = 0; row < rows; row++) narrow.take(seen + (first + row) * size, row);
        product(narrow, rows, layer.output, add);
        for (int row = 0; row < rows; row++) {
            normalise(own + row * size, size, layer.first_weight, layer.first_bias, layer.first_epsilon);
            narrow.take(own + row * size, row);
        }
        product(narrow, rows, layer.up, [&](int row, int64_t column, Floats values) {
            store(widened + row * wide + column, activate<T>(layer, values));
        });
        for (int row = 0; row < rows; row++) broad.take(widened + row * wide, row);
        product(broad, rows, layer.down, add);
        for (int row = 0; row < rows; row++)
            normalise(own + row * size, size, layer.second_weight, layer.second_bias, layer.second_epsilon);
    });
}

// Run all layers on one block of few rows. Each thread multiplies some columns of every matrix, so the threads together
// read a matrix once. Work on whole rows, such as LayerNorm, is repeated by every thread.
template <class T>
void encode_few(const Call& call, const float* hidden, Stream<T>* qkv, Stream<T>* seen, float* output) {
    const int rows = (int)call.rows;
    const int64_t size = call.layers->hidden, wide = call.layers->wide;
    auto* widened = (Stream<T>*)scratch(5, ROWS * wide * sizeof(Stream<T>) / 4);
    const float* entered = scratch(6, ROWS * size);  // the input of a layer, in the scratch of the calling thread
    const auto all_at_once = [&](const auto& work) {
        together(call.threads, [&](Team team) {
            [[maybe_unused]] const Unit<T> unit;
            work(scratch(6, ROWS * size), Operand<T>(1, size), team);
        });
    };
    const auto settle = [&](float* own, Operand<T>& narrow, const float* weight, const float* bias, double epsilon) {
        std::copy(output, output + rows * size, own);
        for (int row = 0; row < rows; row++) {
            if (weight != nullptr) normalise(own + row * size, size, weight, bias, epsilon);
            narrow.take(own + row * size, row);
        }
    };
    if (hidden != output) std::copy(hidden, hidden + rows * size, output);
    for (int64_t number = 0; number < call.count; number++) {
        const Layer& layer = call.layers[number];
        all_at_once([&](float* own, Operand<T> narrow, Team team) {
            if (number == 0) settle(own, narrow, nullptr, nullptr, 0.0);
            else {
                const Layer& before = call.layers[number - 1];
                settle(own, narrow, before.second_weight, before.second_bias, before.second_epsilon);
            }
            product(narrow, rows, layer.qkv, [&](int row, int64_t column, Floats values) {
                store(qkv + row * layer.qkv.outputs + column, values);
            }, team);
        });
        call.attend(call.layout, qkv, qkv + size, qkv + 2 * size, seen);
        all_at_once([&](float* own, Operand<T> narrow, Team team) {
            const auto add_to = [&](const float* before) {
                return [=](int row, int64_t column, Floats values) {
                    store(output + row * size + column, load(before + row * size + column) + values);
                };
            };
            for (int row = 0; row < rows; row++) narrow.take(seen + row * size, row);
            product(narrow, rows, layer.output, add_to(entered), team);
            team.wait();
            settle(own, narrow, layer.first_weight, layer.first_bias, layer.first_epsilon);
            product(narrow, rows, layer.up, [&](int row, int64_t column, Floats values) {
                store(widened + row * wide + column, activate<T>(layer, values));
            }, team);
            team.wait();
            Operand<T> broad(3, wide);
            for (int row = 0; row < rows; row++) broad.take(widened + row * wide, row);
            product(broad, rows, layer.down, add_to(own), team);
        });
    }
    const Layer& last = call.layers[call.count - 1];
    for (int row = 0; row < rows; row++)
        normalise(output + row * size, size, last.second_weight, last.second_bias, last.second_epsilon);
}

// Run all layers, (T, H) to (T, H); `qkv` (T, 3H) and `seen` (T, H) are buffers for intermediate values.
template <class T>
void encode(const Call& call, const float* hidden, Stream<T>* qkv, Stream<T>* seen, float* output) {
    // Below 32 rows a thread, reading a matrix takes as long as multiplying it, so each thread reads only its share.
    if (call.threads > 1 && call.rows < std::min<int64_t>(ROWS, 32 * call.threads))
        return encode_few<T>(call, hidden, qkv, seen, output);
    for (int64_t number = 0; number < call.count; number++) {
        const Layer& layer = call.layers[number];
        project<T>(call, layer, hidden, qkv);
        call.attend(call.layout, qkv, qkv + layer.hidden, qkv + 2 * layer.hidden, seen);
        finish<T>(call, layer, hidden, seen, output);
        hidden = output;
    }
}

// Bring a matrix (outputs, inputs) into the layout for products.
template <class T>
void pack(const T* matrix, int64_t inputs, int64_t outputs, T* packed) {
    for (int64_t output = 0; output < outputs; output++)
        for (int64_t input = 0; input < inputs; input++)
            packed[packed_place<T>(input, output, inputs)] = matrix[output * inputs + input];
}

}  // namespace

// Without products of a type on this processor, its function does nothing; callers must check `layer_serves` first.
#define LAYER(NAME, T)                                                                                                \
    extern "C" int layer_serves_##NAME() { return has_products<T>(); }                                               \
    extern "C" void layer_pack_##NAME(const T* matrix, int64_t inputs, int64_t outputs, T* packed) {                 \
        pack(matrix, inputs, outputs, packed);                                                                        \
    }                                                                                                                 \
    extern "C" void layer_encode_##NAME(const Call* call, const float* hidden, Stream<T>* qkv, Stream<T>* seen,      \
                                        float* output) {                                                              \
        if constexpr (has_products<T>()) encode<T>(*call, hidden, qkv, seen, output);                                 \
    }

LAYER(float, float)
LAYER(bfloat, BFloat)
LAYER(byte, uint8_t)
