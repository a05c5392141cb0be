// LayerNorm(residual + dropout(branch)), forward and backward: one pass over memory each way instead of four.
//
// The backward pass computes the sums and the dropout draws again from the inputs. Column sums are added over a fixed
// number of runs of rows in a fixed order, so any number of threads gives the same bits.
#include <algorithm>
#include <vector>

#include "dropout.h"
#include "parallel.h"

struct Settings {
    int64_t rows, size;  // T, H; H is a multiple of 2 * LANES
    int64_t begin;       // rows of the step before these, for dropout
    uint32_t first, second;
    double rate, epsilon;
    int32_t threads;
};

namespace {

constexpr int RUNS = 64;
constexpr int64_t FEW = 1 << 14;  // values that take less time than waking another thread

template <class R, class B>
struct Row {
    const Settings& settings;
    const R* residual;
    const B* branch;
    int threshold;
    float spared;

    Row(const Settings& all, const R* residuals, const B* branches)
        : settings(all),
          residual(residuals),
          branch(branches),
          threshold(Dropout::threshold(all.rate)),
          spared((float)(1.0 / (1.0 - all.rate))) {}

    void draw(int64_t row, int16_t* draws) const {
        if (settings.rate <= 0) return;
        const Dropout dropout{settings.first, settings.second};
        const uint32_t word = (uint32_t)((settings.begin + row) * settings.size / 2);
        for (int at = 0; at < settings.size; at += 2 * LANES) dropout.draw(word + at / 2, draws + at);
    }

    Floats factors(const int16_t* draws, int at) const {
        return settings.rate > 0 ? kept(draws + at, threshold, spared) : splat(1.0f);
    }

    // Compute residual + dropout(branch) of a row, its mean and 1 / its standard deviation.
    void read(int64_t row, const int16_t* draws, float* sums, float& mean, float& deviation) const {
        const int size = (int)settings.size;
        const R* from = residual + row * size;
        const B* more = branch + row * size;
        Floats total{}, squares{};
        for (int at = 0; at < size; at += LANES) {
            const Floats values = load(from + at) + load(more + at) * factors(draws, at);
            store(sums + at, values);
            total += values;
        }
        mean = sum(total) / size;
        for (int at = 0; at < size; at += LANES) {
            const Floats apart = load(sums + at) - mean;
            squares += apart * apart;
        }
        deviation = 1.0f / std::sqrt(sum(squares) / size + (float)settings.epsilon);
    }
};

int team_of(const Settings& settings) { return settings.rows * settings.size > FEW ? settings.threads : 1; }

struct Buffers {
    std::vector<float> sums;
    std::vector<int16_t> draws;

    explicit Buffers(int64_t size) : sums(size), draws(size + 2 * LANES) {}
};

template <class R, class B>
void forward(const Settings& settings, const R* residual, const B* branch, const float* weight, const float* bias,
             R* output) {
    const Row<R, B> source(settings, residual, branch);
    together(team_of(settings), [=, &settings](Team team) {
        Buffers own(settings.size);
        const Part part(team, settings.rows);
        for (int64_t row = part.begin; row < part.end; row++) {
            float mean, deviation;
            source.draw(row, own.draws.data());
            source.read(row, own.draws.data(), own.sums.data(), mean, deviation);
            for (int at = 0; at < settings.size; at += LANES) {
                const Floats normal = (load(own.sums.data() + at) - mean) * deviation;
                store(output + row * settings.size + at, normal * load(weight + at) + load(bias + at));
            }
        }
    });
}

// With x the normalised row and g = gradient * weight: d = (g - mean(g) - x mean(g x)) / deviation.
template <class R, class B>
void backward(const Settings& settings, const R* gradient, const R* residual, const B* branch, const float* weight,
              R* d_residual, B* d_branch, float* d_weight, float* d_bias) {
    const Row<R, B> source(settings, residual, branch);
    const int size = (int)settings.size;
    std::vector<float> partial((size_t)RUNS * 2 * size);
    together(team_of(settings), [=, &settings, &partial](Team team) {
        Buffers own(size);
        std::vector<float> normal(size);
        const Part part(team, RUNS);
        for (int64_t run = part.begin; run < part.end; run++) {
            float *weights = partial.data() + (size_t)run * 2 * size, *biases = weights + size;
            const int64_t end = settings.rows * (run + 1) / RUNS;
            for (int64_t row = settings.rows * run / RUNS; row < end; row++) {
                const R* slope = gradient + row * size;
                float mean, deviation;
                source.draw(row, own.draws.data());
                source.read(row, own.draws.data(), own.sums.data(), mean, deviation);
                Floats total{}, product{};
                for (int at = 0; at < size; at += LANES) {
                    const Floats x = (load(own.sums.data() + at) - mean) * deviation, above = load(slope + at);
                    const Floats g = above * load(weight + at);
                    total += g;
                    product += g * x;
                    store(normal.data() + at, x);
                    store(weights + at, load(weights + at) + above * x);
                    store(biases + at, load(biases + at) + above);
                }
                const float level = sum(total) / size, tilt = sum(product) / size;
                for (int at = 0; at < size; at += LANES) {
                    const Floats g = load(slope + at) * load(weight + at);
                    const Floats d = (g - level - load(normal.data() + at) * tilt) * deviation;
                    store(d_residual + row * size + at, d);
                    store(d_branch + row * size + at, d * source.factors(own.draws.data(), at));
                }
            }
        }
    });
    for (int run = 0; run < RUNS; run++)
        for (int at = 0; at < size; at += LANES) {
            const float* weights = partial.data() + (size_t)run * 2 * size;
            store(d_weight + at, (run ? load(d_weight + at) : Floats{}) + load(weights + at));
            store(d_bias + at, (run ? load(d_bias + at) : Floats{}) + load(weights + size + at));
        }
}

}  // namespace

#define NORMALISE(NAME, R, B)                                                                                          \
    extern "C" void normalise_##NAME(const Settings* settings, const R* residual, const B* branch, const float* weight, \
                                     const float* bias, R* output) {                                                   \
        forward(*settings, residual, branch, weight, bias, output);                                                    \
    }                                                                                                                  \
    extern "C" void normalise_backward_##NAME(const Settings* settings, const R* gradient, const R* residual,          \
                                              const B* branch, const float* weight, R* d_residual, B* d_branch,        \
                                              float* d_weight, float* d_bias) {                                        \
        backward(*settings, gradient, residual, branch, weight, d_residual, d_branch, d_weight, d_bias);               \
    }

NORMALISE(float_float, float, float)
NORMALISE(float_bfloat, float, BFloat)
NORMALISE(bfloat_bfloat, BFloat, BFloat)
