// softmax(Q K^T / sqrt(D)) V over packed sequences, forward and backward ("Attention is all you need", 3.2.1).
//
// A task is one head of one sequence. It computes its weights for one block of queries at a time, so that they stay in
// the cache for sequences of any length. Sums are in fp32 and in a fixed order: any number of threads gives the same
// bits. Under every mask here (causal, window, end of the sequence) a query attends to one contiguous range of keys.
#include <algorithm>
#include <vector>

#include "dropout.h"
#include "parallel.h"
#include "products.h"

struct Layout {
    const int32_t *query_offsets, *key_offsets;  // (B+1,)
    int64_t query_row, key_row, value_row;       // strides from one token to the next, in elements
    int64_t queries, keys;                       // T and K; there may be padding after the last sequence
    int32_t num_sequences, heads, size;          // B, N, D
    int32_t causal, window;                      // window -1: none
    int32_t words;                               // hash words for the keys of one query
    uint32_t first, second;                      // key words of the dropout
    uint32_t begin;                              // queries of the step before these, for dropout
    double rate;
    int32_t threads;

    // Whether the work takes longer than waking another thread.
    bool large() const {
        int64_t pairs = 0;
        for (int at = 0; at < num_sequences; at++)
            pairs += (int64_t)(query_offsets[at + 1] - query_offsets[at]) * (key_offsets[at + 1] - key_offsets[at]);
        return pairs * heads * size > 1 << 18;
    }
};

namespace {

constexpr int BLOCK = 48;  // queries computed at a time

// Scratch memory that a thread keeps between calls: new memory costs several times as much as its use.
float* scratch(int number, size_t count) {
    thread_local std::vector<float> kept[12];
    if (kept[number].size() < count) kept[number].resize(count);
    return kept[number].data();
}

// One head of one sequence.
struct Task {
    const Layout& layout;
    int head, query_begin, queries, key_begin, keys;
    int width, row;  // D and the number of keys, padded to whole vectors

    Task(const Layout& all, int number) : layout(all), head(number % all.heads) {
        int sequence = number / all.heads;
        query_begin = all.query_offsets[sequence], queries = all.query_offsets[sequence + 1] - query_begin;
        key_begin = all.key_offsets[sequence], keys = all.key_offsets[sequence + 1] - key_begin;
        width = padded(all.size), row = padded(std::max(keys, 0));
    }

    bool empty() const { return queries <= 0 || keys <= 0; }

    // Return the index of a token's head in a tensor with `stride` elements from one token to the next.
    int64_t at(int token, int64_t stride) const { return token * stride + (int64_t)head * layout.size; }
};

struct Range {
    int begin, end;
};

// Return the keys that query `place` attends to; a query with all keys hidden attends to the first.
Range visible(const Task& task, int place) {
    const int level = place + task.keys - task.queries;  // the last query has the position of the last key
    const int window = task.layout.window;
    int begin = window < 0 ? 0 : std::max(0, level - window);
    int end = window < 0 ? task.keys : std::min(task.keys, level + window + 1);
    if (task.layout.causal) end = std::min(end, level + 1);
    return begin < end ? Range{begin, end} : Range{0, 1};
}

// Return the range of keys that cover those of the queries [place, place + rows), in whole vectors.
Range visible(const Task& task, int place, int rows) {
    Range all{task.keys, 0};
    for (int query = place; query < place + rows; query++) {
        Range own = visible(task, query);
        all = {std::min(all.begin, own.begin), std::max(all.end, own.end)};
    }
    return {all.begin / LANES * LANES, padded(all.end)};
}

// Copy the rows of one head as floats times `scale`, padded to `width` with zeros.
template <class T>
void gather(const T* from, int64_t stride, int count, int size, int width, float scale, float* to) {
    for (int token = 0; token < count; token++, from += stride, to += width) {
        int place = 0;
        for (; place + LANES <= size; place += LANES) store(to + place, load(from + place) * scale);
        if (place < size) store(to + place, load_some(from + place, size - place) * scale);
    }
}

template <class T>
void scatter(const float* from, int width, int count, int size, int64_t stride, float scale, T* to) {
    for (int token = 0; token < count; token++, from += width, to += stride) {
        int place = 0;
        for (; place + LANES <= size; place += LANES) store(to + place, load(from + place) * scale);
        if (place < size) store_some(to + place, load(from + place) * scale, size - place);
    }
}

// Transpose (rows x width) to (size x row). `row` is `rows`, padded with zeros; `width` is `size`, padded.
void transpose(const float* from, int rows, int width, int size, float* to, int row) {
    for (int token = 0; token < row; token += LANES)
        for (int place = 0; place < size; place += LANES) {
            Floats square[LANES];
            for (int lane = 0; lane < LANES; lane++)
                square[lane] = token + lane < rows ? load(from + (int64_t)(token + lane) * width + place) : Floats{};
            turn(square);
            for (int lane = 0; lane < LANES && place + lane < size; lane++)
                store(to + (int64_t)(place + lane) * row + token, square[lane]);
        }
}

// Return scores or weights of LANES keys from `key` on, with `otherwise` for hidden keys. It works in registers:
// reading a vector right after storing single floats in it would stall.
Floats within(Floats values, int key, Range own, float otherwise) {
    if (key >= own.begin && key + LANES <= own.end) return values;
    const Ints at = lanes() + key;
    return ((at >= own.begin) & (at < own.end)) ? values : splat(otherwise);
}

// Replace a query's scores of the keys `among` by exp(score - largest), 0 for hidden keys, and return their sum.
float weigh(float* scores, Range own, Range among) {
    Floats best = splat(-INFINITY), total{};
    for (int key = among.begin; key < among.end; key += LANES)
        best = larger(within(load(scores + key), key, own, -INFINITY), best);
    const float most = largest(best);
    for (int key = among.begin; key < among.end; key += LANES) {
        const Floats weights = within(exponential(load(scores + key) - most), key, own, 0.0f);
        store(scores + key, weights);
        total += weights;
    }
    return sum(total);
}

// The factors of dropout for a query's weights: 0 or 1 / (1 - rate).
struct Drops {
    const Task& task;
    Dropout dropout;
    int threshold;
    float spared;
    int16_t* draws;

    explicit Drops(const Task& own)
        : task(own),
          dropout{own.layout.first, own.layout.second},
          threshold(Dropout::threshold(own.layout.rate)),
          spared((float)(1.0 / (1.0 - own.layout.rate))),
          draws((int16_t*)scratch(11, own.row / 2 + 2 * LANES)) {}

    void draw(int place, Range among) {
        const uint32_t query = (task.layout.begin + task.query_begin + place) * task.layout.heads + task.head;
        for (int key = among.begin / (2 * LANES) * (2 * LANES); key < among.end; key += 2 * LANES)
            dropout.draw(query * task.layout.words + key / 2, draws + key);
    }

    Floats factors(int key) const { return kept(draws + key, threshold, spared); }
};

// Write zeros where no task writes: after the last sequence, and in sequences without queries or without keys.
template <class T>
void clear(const Layout& layout, const int32_t* offsets, const int32_t* others, int64_t tokens, T* values) {
    const int64_t stride = (int64_t)layout.heads * layout.size;
    for (int at = 0; at < layout.num_sequences; at++)
        if (others[at + 1] <= others[at]) std::fill(values + offsets[at] * stride, values + offsets[at + 1] * stride, T{});
    std::fill(values + offsets[layout.num_sequences] * stride, values + tokens * stride, T{});
}

// Run `work(task)` for each head of each sequence that has queries and keys.
template <class F>
void each_task(const Layout& layout, const F& work) {
    Turns turns((int64_t)layout.num_sequences * layout.heads, 2);
    together(layout.large() ? layout.threads : 1, [&](Team) {
        turns.each([&](int64_t number) {
            const Task task(layout, (int)number);
            if (!task.empty()) work(task);
        });
    });
}

template <class T>
void forward(const Layout& layout, const T* query, const T* key, const T* value, T* output) {
    const int size = layout.size;
    const float scale = 1.0f / std::sqrt((float)size);
    clear(layout, layout.query_offsets, layout.key_offsets, layout.queries, output);
    each_task(layout, [&](const Task& task) {
        const int width = task.width, row = task.row;
        float* k = scratch(0, (size_t)task.keys * width);
        float* v = scratch(1, (size_t)task.keys * width);
        float* turned = scratch(2, (size_t)size * row);
        float* q = scratch(3, (size_t)BLOCK * width);
        float* weights = scratch(4, (size_t)BLOCK * row);
        float* result = scratch(5, (size_t)BLOCK * width);
        Drops drops(task);
        gather(key + task.at(task.key_begin, layout.key_row), layout.key_row, task.keys, size, width, 1.0f, k);
        gather(value + task.at(task.key_begin, layout.value_row), layout.value_row, task.keys, size, width, 1.0f, v);
        transpose(k, task.keys, width, size, turned, row);
        for (int block = 0; block < task.queries; block += BLOCK) {
            const int rows = std::min(BLOCK, task.queries - block), first = task.query_begin + block;
            const Range among = visible(task, block, rows);
            const int columns = among.end - among.begin, depth = std::min(among.end, task.keys) - among.begin;
            gather(query + task.at(first, layout.query_row), layout.query_row, rows, size, width, scale, q);
            multiply(q, width, 1, turned + among.begin, row, weights + among.begin, row, rows, columns, size, false);
            float shares[BLOCK];
            for (int place = 0; place < rows; place++) {
                float* own = weights + (int64_t)place * row;
                shares[place] = 1.0f / weigh(own, visible(task, block + place), among);
                if (layout.rate <= 0) continue;
                drops.draw(block + place, among);
                for (int at = among.begin; at < among.end; at += LANES) store(own + at, load(own + at) * drops.factors(at));
            }
            multiply(weights + among.begin, row, 1, v + (int64_t)among.begin * width, width, result, width, rows, width,
                     depth, false);
            const int64_t stride = (int64_t)layout.heads * size;
            for (int place = 0; place < rows; place++)
                scatter(result + (int64_t)place * width, width, 1, size, stride, shares[place],
                        output + task.at(first + place, stride));
        }
    });
}

// Computes the weights again. With P the weights, M the factors of dropout and G the gradient of the output:
// dV = (P M)^T G;  dW = P (M G V^T - rowsum(P M G V^T));  dQ = dW K / sqrt(D);  dK = dW^T Q / sqrt(D).
template <class T>
void backward(const Layout& layout, const T* gradient, const T* query, const T* key, const T* value, T* d_query,
              T* d_key, T* d_value) {
    const int size = layout.size;
    const float scale = 1.0f / std::sqrt((float)size);
    const int64_t stride = (int64_t)layout.heads * size;
    clear(layout, layout.query_offsets, layout.key_offsets, layout.queries, d_query);
    for (T* values : {d_key, d_value}) clear(layout, layout.key_offsets, layout.query_offsets, layout.keys, values);
    each_task(layout, [&](const Task& task) {
        const int width = task.width, row = task.row;
        const size_t all = (size_t)task.keys * width;
        float *k = scratch(0, all), *v = scratch(1, all), *dk = scratch(6, all), *dv = scratch(7, all);
        float *turned_k = scratch(2, (size_t)size * row), *turned_v = scratch(8, (size_t)size * row);
        float *q = scratch(3, (size_t)BLOCK * width), *g = scratch(9, (size_t)BLOCK * width);
        float *weights = scratch(4, (size_t)BLOCK * row), *inner = scratch(10, (size_t)BLOCK * row);
        float* result = scratch(5, (size_t)BLOCK * width);
        Drops drops(task);
        gather(key + task.at(task.key_begin, layout.key_row), layout.key_row, task.keys, size, width, 1.0f, k);
        gather(value + task.at(task.key_begin, layout.value_row), layout.value_row, task.keys, size, width, 1.0f, v);
        transpose(k, task.keys, width, size, turned_k, row);
        transpose(v, task.keys, width, size, turned_v, row);
        std::fill(dk, dk + all, 0.0f);
        std::fill(dv, dv + all, 0.0f);
        for (int block = 0; block < task.queries; block += BLOCK) {
            const int rows = std::min(BLOCK, task.queries - block), first = task.query_begin + block;
            const Range among = visible(task, block, rows);
            const int begin = among.begin, columns = among.end - begin, seen = std::min(among.end, task.keys) - begin;
            gather(query + task.at(first, layout.query_row), layout.query_row, rows, size, width, scale, q);
            gather(gradient + task.at(first, stride), stride, rows, size, width, 1.0f, g);
            multiply(q, width, 1, turned_k + begin, row, weights + begin, row, rows, columns, size, false);
            multiply(g, width, 1, turned_v + begin, row, inner + begin, row, rows, columns, size, false);
            for (int place = 0; place < rows; place++) {
                float *own = weights + (int64_t)place * row, *slope = inner + (int64_t)place * row;
                const float share = 1.0f / weigh(own, visible(task, block + place), among);
                if (layout.rate > 0) drops.draw(block + place, among);
                Floats sums{};
                for (int at = begin; at < among.end; at += LANES) {
                    const Floats weight = load(own + at) * share, factor = layout.rate > 0 ? drops.factors(at) : splat(1.0f);
                    const Floats inside = load(slope + at) * factor;
                    sums += weight * inside;
                    store(slope + at, inside);
                }
                const float mean = sum(sums);
                for (int at = begin; at < among.end; at += LANES) {
                    const Floats weight = load(own + at) * share, factor = layout.rate > 0 ? drops.factors(at) : splat(1.0f);
                    store(slope + at, weight * (load(slope + at) - mean));
                    store(own + at, weight * factor);
                }
            }
            float *dk_seen = dk + (int64_t)begin * width, *dv_seen = dv + (int64_t)begin * width;
            multiply(weights + begin, 1, row, g, width, dv_seen, width, seen, width, rows, true);
            multiply(inner + begin, 1, row, q, width, dk_seen, width, seen, width, rows, true);
            multiply(inner + begin, row, 1, k + (int64_t)begin * width, width, result, width, rows, width, seen, false);
            scatter(result, width, rows, size, stride, scale, d_query + task.at(first, stride));
        }
        scatter(dk, width, task.keys, size, stride, 1.0f, d_key + task.at(task.key_begin, stride));
        scatter(dv, width, task.keys, size, stride, 1.0f, d_value + task.at(task.key_begin, stride));
    });
}

}  // namespace

extern "C" void attention_float(const Layout* layout, const float* query, const float* key, const float* value,
                                float* output) {
    forward(*layout, query, key, value, output);
}

extern "C" void attention_bfloat(const Layout* layout, const BFloat* query, const BFloat* key, const BFloat* value,
                                 BFloat* output) {
    forward(*layout, query, key, value, output);
}

extern "C" void attention_backward_float(const Layout* layout, const float* gradient, const float* query,
                                         const float* key, const float* value, float* d_query, float* d_key,
                                         float* d_value) {
    backward(*layout, gradient, query, key, value, d_query, d_key, d_value);
}

extern "C" void attention_backward_bfloat(const Layout* layout, const BFloat* gradient, const BFloat* query,
                                          const BFloat* key, const BFloat* value, BFloat* d_query, BFloat* d_key,
                                          BFloat* d_value) {
    backward(*layout, gradient, query, key, value, d_query, d_key, d_value);
}
