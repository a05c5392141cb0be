// GELU, x Phi(x), and its gradient Phi(x) + x phi(x). For bfloats both are polynomials with errors below the rounding.
#include <algorithm>
#include <type_traits>

#include "normal.h"
#include "parallel.h"

namespace {

constexpr int64_t PIECE = 4096, FEW = 4 * PIECE;  // FEW values take less time than waking another thread

template <class T, class F>
void each(int64_t count, int threads, const F& work) {
    spread((count + PIECE - 1) / PIECE, count > FEW ? threads : 1, [&](int64_t piece) {
        const int64_t end = std::min(count, (piece + 1) * PIECE);
        int64_t at = piece * PIECE;
        for (; at + LANES <= end; at += LANES) work(at, LANES);
        if (at < end) work(at, (int)(end - at));
    });
}

template <class T>
Floats take(const T* from, int count) {
    return count == LANES ? load(from) : load_some(from, count);
}

template <class T>
void give(T* to, Floats values, int count) {
    if (count == LANES) store(to, values);
    else store_some(to, values, count);
}

template <class T>
constexpr bool is_rough = std::is_same<T, BFloat>::value;

Floats slope(Floats x) {
    const Normal both = normal(x);
    return both.below + x * both.density;
}

template <class T>
void forward(int64_t count, int threads, const T* input, T* output) {
    each<T>(count, threads, [=](int64_t at, int some) {
        const Floats x = take(input + at, some);
        give(output + at, x * (is_rough<T> ? roughly_below(x) : normal(x).below), some);
    });
}

template <class T>
void backward(int64_t count, int threads, const T* gradient, const T* input, T* output) {
    each<T>(count, threads, [=](int64_t at, int some) {
        const Floats x = take(input + at, some);
        give(output + at, take(gradient + at, some) * (is_rough<T> ? rough_slope(x) : slope(x)), some);
    });
}

}  // namespace

extern "C" void gelu_float(int64_t count, int threads, const float* input, float* output) {
    forward(count, threads, input, output);
}

extern "C" void gelu_bfloat(int64_t count, int threads, const BFloat* input, BFloat* output) {
    forward(count, threads, input, output);
}

extern "C" void gelu_backward_float(int64_t count, int threads, const float* gradient, const float* input,
                                    float* output) {
    backward(count, threads, gradient, input, output);
}

extern "C" void gelu_backward_bfloat(int64_t count, int threads, const BFloat* gradient, const BFloat* input,
                                     BFloat* output) {
    backward(count, threads, gradient, input, output);
}
