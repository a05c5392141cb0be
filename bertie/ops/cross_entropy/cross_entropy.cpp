// The cross-entropy of rows of logits; the logits are overwritten with their gradient, softmax - onehot.
#include <algorithm>

#include "parallel.h"
#include "vectors.h"

namespace {

// Return logits + bias at `at`, and -infinity past the end of the row.
template <class T>
Floats score(const T* row, const float* bias, int at, int size) {
    if (at + LANES <= size) return load(row + at) + load(bias + at);
    Floats values = load_some(row + at, size - at) + load_some(bias + at, size - at);
    for (int lane = size - at; lane < LANES; lane++) values[lane] = -INFINITY;
    return values;
}

template <class T>
void rows(int64_t count, int size, int threads, T* logits, const float* bias, const int64_t* targets, bool differentiate,
          float* losses, float* correct) {
    spread(count, threads, [&](int64_t number) {
        T* row = logits + number * size;
        const int target = (int)targets[number];
        Floats best = splat(-INFINITY), total{};
        for (int at = 0; at < size; at += LANES) best = larger(score(row, bias, at, size), best);
        const float most = largest(best), right = one(row + target) + bias[target];
        for (int at = 0; at < size; at += LANES) {
            const Floats weights = exponential(score(row, bias, at, size) - most);
            total += weights;
        }
        // Each lane past the end has added e^-87, which does not change an fp32 sum.
        const float share = 1.0f / sum(total);
        losses[number] = most - right - std::log(share);
        bool first = right == most;  // of equal logits the first is the prediction
        for (int at = 0; first && at < target; at++) first = one(row + at) + bias[at] < most;
        correct[number] = first;
        if (!differentiate) return;
        for (int at = 0; at < size; at += LANES) {
            Floats slopes = exponential(score(row, bias, at, size) - most) * share;
            if (target >= at && target < at + LANES) slopes[target - at] -= 1.0f;
            if (at + LANES <= size) store(row + at, slopes);
            else store_some(row + at, slopes, size - at);
        }
    });
}

// Add the sum of each column to `sums`, always in the order of the rows.
template <class T>
void columns(int64_t count, int size, int threads, const T* values, float* sums) {
    constexpr int WIDE = 8 * LANES;
    spread((size + WIDE - 1) / WIDE, threads, [&](int64_t piece) {
        const int begin = (int)piece * WIDE, end = std::min(size, begin + WIDE);
        float totals[WIDE] = {};
        for (int64_t row = 0; row < count; row++)
            for (int at = begin; at < end; at += LANES) {
                const T* from = values + row * size + at;
                const Floats more = at + LANES <= size ? load(from) : load_some(from, size - at);
                store(totals + at - begin, load(totals + at - begin) + more);
            }
        for (int at = begin; at < end; at++) sums[at] += totals[at - begin];
    });
}

template <class T>
void cross_entropy(int64_t count, int size, int threads, T* logits, const float* bias, const int64_t* targets,
                   float* losses, float* correct, float* d_bias) {
    rows(count, size, threads, logits, bias, targets, d_bias != nullptr, losses, correct);
    if (d_bias) columns(count, size, threads, logits, d_bias);
}

}  // namespace

extern "C" void cross_entropy_float(int64_t count, int size, int threads, float* logits, const float* bias,
                                    const int64_t* targets, float* losses, float* correct, float* d_bias) {
    cross_entropy(count, size, threads, logits, bias, targets, losses, correct, d_bias);
}

extern "C" void cross_entropy_bfloat(int64_t count, int size, int threads, BFloat* logits, const float* bias,
                                     const int64_t* targets, float* losses, float* correct, float* d_bias) {
    cross_entropy(count, size, threads, logits, bias, targets, losses, correct, d_bias);
}
