// Parallel loops on the threads of the OpenMP runtime that torch has loaded.
//
// GCC's libgomp and LLVM's libomp both have these four functions, so the compiler needs no OpenMP, and there is no
// second thread pool that competes for the same cores. `share_pool` must be called once, before any other function of a
// library.
#pragma once

#include <atomic>
#include <cstdint>

struct Pool {
    void (*parallel)(void (*work)(void*), void* data, unsigned threads, unsigned flags);  // GOMP_parallel
    int (*number)();    // omp_get_thread_num
    int (*count)();     // omp_get_num_threads
    void (*barrier)();  // GOMP_barrier
};

static Pool pool;

extern "C" void share_pool(const Pool* given) { pool = *given; }

// The number of this thread and the count of threads.
struct Team {
    int number = 0, count = 1;

    void wait() const {
        if (count > 1) pool.barrier();
    }
};

// Run `work(team)` on every thread, and wait for all of them.
template <class F>
void together(int threads, const F& work) {
    if (threads <= 1) return work(Team{});
    const auto run = [](void* data) { (*(const F*)data)(Team{pool.number(), pool.count()}); };
    pool.parallel(run, (void*)&work, (unsigned)threads, 0);
}

// This thread's part of `count` pieces: a run of consecutive pieces, about equally long for every thread.
struct Part {
    int64_t begin, end;

    Part(Team team, int64_t count) : begin(count * team.number / team.count), end(count * (team.number + 1) / team.count) {}
};

// Run `work(piece)` for each of `count` pieces; every thread takes one run of them.
template <class F>
void spread(int64_t count, int threads, const F& work) {
    together(threads, [&](Team team) {
        const Part part(team, count);
        for (int64_t piece = part.begin; piece < part.end; piece++) work(piece);
    });
}

// Pieces that free threads take in turn, `grain` at a time.
class Turns {
  public:
    Turns(int64_t count, int64_t grain) : count(count), grain(grain) {}

    template <class F>
    void each(const F& work) {
        for (int64_t first; (first = next.fetch_add(grain, std::memory_order_relaxed)) < count;)
            for (int64_t piece = first; piece < first + grain && piece < count; piece++) work(piece);
    }

  private:
    const int64_t count, grain;
    std::atomic<int64_t> next{0};
};
