#include "loader/epoch_run.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "loader/read_ahead.h"

namespace gluon_resnet {
namespace {

// A worker takes as many rows at once as keep it busy for about this long: few enough that the
// workers finish a batch together, enough that taking them costs next to nothing.
constexpr std::chrono::microseconds kChunkTime{100};

// The error of a record, with its location.
Error with_place(const Error& error, const RecordSet::Place& at) {
  const int64_t key = at.file->key(at.index);
  const uint64_t offset = at.file->offset(at.index);
  std::string reason = error.what();
  if (error.kind == ErrorKind::kImage) {
    reason =
        concat(at.file->path(), ": record with key ", key, " at offset ", offset, ": ", reason);
  }
  Error full(error.kind, reason, at.file->path(), static_cast<int64_t>(offset));
  full.key = key;
  full.system_code = error.system_code;
  return full;
}

}  // namespace

struct EpochRun::State {
  // Held by the one thread that may be in next().
  class Turn {
   public:
    explicit Turn(std::atomic<bool>* taken) : taken_(taken) {
      if (!taken_->exchange(true)) return;
      throw Error(ErrorKind::kUsage,
                  "another thread is waiting for a batch of this epoch: only one thread at a time "
                  "may take a loader's batches; put a lock around next(), or give each thread its "
                  "own loader");
    }
    ~Turn() { *taken_ = false; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    std::atomic<bool>* const taken_;
  };

  State(std::shared_ptr<const RowSource> row_source, std::shared_ptr<BatchPool> batch_pool,
        uint64_t epoch, uint64_t first_batch, uint64_t step)
      : source(std::move(row_source)),
        options(source->options),
        pool(std::move(batch_pool)),
        epoch(epoch),
        order(source->order(epoch).every(step, first_batch)),
        meter(std::make_shared<EpochMeter>(options.threads)),
        jobs(options.prefetch),
        process(::getpid()) {
    workers.reserve(options.threads);
    try {
      for (size_t i = 0; i < options.threads; ++i) workers.emplace_back([this] { work(); });
    } catch (...) {
      stop();
      throw;
    }
  }

  // A batch in progress.
  struct Job {
    std::shared_ptr<BatchMemory> memory;
    uint64_t rows = 0;
    uint64_t next_row = 0;
    uint64_t left = 0;  // rows not yet done
    bool ready = false;
    std::vector<uint64_t> bad_rows;
    uint64_t error_row = 0;
    std::exception_ptr error;
  };
  Job& job(uint64_t batch) { return jobs[batch % jobs.size()]; }

  // May be called repeatedly, and by several threads at once: all return when the workers are gone.
  void stop() {
    meter->ended();
    {
      const std::lock_guard<std::mutex> lock(mutex);
      cancelled = true;
    }
    work_to_do.notify_all();
    batch_ready.notify_all();
    const std::lock_guard<std::mutex> lock(joining);
    for (std::thread& worker : workers) worker.join();
    workers.clear();
  }

  void work() {
    try {
      RowMaker maker(*source);
      make_chunks(&maker);
    } catch (...) {  // out of memory: the consumer is told, and the epoch ends
      const std::lock_guard<std::mutex> lock(mutex);
      failure = std::current_exception();
      cancelled = true;
      work_to_do.notify_all();
      batch_ready.notify_all();
    }
  }

  void make_chunks(RowMaker* maker) {
    const uint64_t most_rows = std::max<uint64_t>(options.batch_size / (2 * options.threads), 1);
    uint64_t chunk = 1;
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
      wait_for_work(&lock);
      if (cancelled || open == end) return;
      const uint64_t batch = open;
      Job& current = job(batch);
      if (!current.memory) begin(batch, &current);
      const uint64_t row = current.next_row;
      const uint64_t stop_row = std::min(row + chunk, current.rows);
      current.next_row = stop_row;
      if (stop_row == current.rows) {
        ++open;
        work_to_do.notify_all();
      }
      lock.unlock();
      if (row == 0) read_ahead.begin(batch);
      const Clock::time_point began = Clock::now();
      make_rows(batch, row, stop_row, &current, maker);
      const Clock::duration time = Clock::now() - began;
      WorkTimes times = maker->take_times();
      times.augmenting = time - times.reading - times.decoding;
      meter->worked(times);
      read_ahead.lost(times.stalled);
      if (time < kChunkTime / 2) chunk = std::min(2 * chunk, most_rows);
      if (time > kChunkTime * 2) chunk = std::max<uint64_t>(chunk / 2, 1);
      lock.lock();
      current.left -= stop_row - row;
      if (current.left == 0) {
        finish(&current);
        batch_ready.notify_all();
      }
    }
  }

  void wait_for_work(std::unique_lock<std::mutex>* lock) {
    const auto may_go_on = [this] {
      return cancelled || open == end || open < taken + jobs.size();
    };
    if (may_go_on()) return;
    const Clock::time_point began = Clock::now();
    work_to_do.wait(*lock, may_go_on);
    meter->waited(began, Clock::now());
  }

  void begin(uint64_t batch, Job* current) {
    current->memory = pool->take();
    current->rows = order.rows(batch);
    current->next_row = 0;
    current->left = current->rows;
    current->ready = false;
    current->bad_rows.clear();
    current->error = nullptr;
    current->memory->rows = current->rows;
    current->memory->pad = current->rows - order.real_rows(batch);
  }

  void make_rows(uint64_t batch, uint64_t row, uint64_t stop_row, Job* current, RowMaker* maker) {
    for (uint64_t next = order.record(batch, row); row < stop_row; ++row) {
      const uint64_t number = next;
      if (row + 1 < stop_row) maker->prepare(next = order.record(batch, row + 1));
      make_row(batch, row, number, current, maker);
    }
  }

  void make_row(uint64_t batch, uint64_t row, uint64_t number, Job* current, RowMaker* maker) {
    const bool counts = row < order.real_rows(batch);  // it is not padding
    try {
      if (maker->make(epoch, number, row, current->memory.get()) || !counts) return;
      const Error cut(ErrorKind::kImage, "its data ends early; the rest has been filled in");
      meter->partial(bad_record(with_place(cut, source->records.place(number))));
    } catch (const Error& error) {
      const Error full = with_place(error, source->records.place(number));
      if (options.skip_errors && full.kind != ErrorKind::kSystem) {
        if (counts) meter->skipped(bad_record(full));
        const std::lock_guard<std::mutex> lock(mutex);
        current->bad_rows.push_back(row);
        return;
      }
      const std::lock_guard<std::mutex> lock(mutex);
      if (!current->error || row < current->error_row) {
        current->error = std::make_exception_ptr(full);
        current->error_row = row;
      }
    }
  }

  BadRecord bad_record(const Error& error) const {
    return {epoch, error.path, error.key, static_cast<uint64_t>(error.offset), error.what()};
  }

  // All rows are done.
  void finish(Job* current) {
    current->ready = true;
    if (++finished == end) meter->work_ended();
    if (current->bad_rows.empty()) return;
    current->memory->drop_rows(current->bad_rows);
    if (options.last_batch == LastBatch::kKeep) {
      current->memory->rows -= current->memory->pad;
      current->memory->pad = 0;
    }
  }

  Status next(int milliseconds, std::shared_ptr<BatchMemory>* batch) {
    const Turn turn(&consumer_is_here);
    std::unique_lock<std::mutex> lock(mutex);
    if (taken == end) {
      lock.unlock();
      stop();
      return Status::kEnd;
    }
    Job& first = job(taken);
    const auto closed = [&] { return cancelled && !failure; };
    const auto ready = [&] { return (first.memory && first.ready) || cancelled; };
    if (!ready()) {
      const Clock::time_point began = Clock::now();
      const bool done = batch_ready.wait_for(lock, std::chrono::milliseconds(milliseconds), ready);
      meter->consumer_waited(Clock::now() - began);
      if (!done) return Status::kNotYet;
    }
    if (closed()) throw_closed();
    if (!(first.memory && first.ready)) std::rethrow_exception(failure);
    std::shared_ptr<BatchMemory> memory = std::move(first.memory);
    first.memory = nullptr;
    first.ready = false;
    const std::exception_ptr error = std::exchange(first.error, nullptr);
    ++taken;
    work_to_do.notify_all();
    lock.unlock();
    if (error) std::rethrow_exception(error);
    meter->handed_out(memory->rows - memory->pad);
    *batch = std::move(memory);
    return Status::kBatch;
  }

  const std::shared_ptr<const RowSource> source;
  const LoaderOptions& options;
  const std::shared_ptr<BatchPool> pool;
  const uint64_t epoch;
  const BatchOrder order;
  const uint64_t end = order.num_batches();
  const std::shared_ptr<EpochMeter> meter;
  ReadAhead read_ahead{*source, order};

  std::mutex mutex;  // guards the members below
  std::condition_variable work_to_do;
  std::condition_variable batch_ready;
  bool cancelled = false;
  std::exception_ptr failure;
  uint64_t taken = 0;     // batches before this one have been handed out
  uint64_t open = 0;      // the batch whose rows are being handed to workers
  uint64_t finished = 0;  // the number of batches that are ready or handed out
  std::vector<Job> jobs;

  std::atomic<bool> consumer_is_here{false};
  const pid_t process;
  std::mutex joining;  // guards the members below
  std::vector<std::thread> workers;
};

EpochRun::EpochRun(std::shared_ptr<const RowSource> source, std::shared_ptr<BatchPool> pool,
                   uint64_t epoch, uint64_t first_batch, uint64_t step)
    : state_(
          std::make_unique<State>(std::move(source), std::move(pool), epoch, first_batch, step)) {}

EpochRun::~EpochRun() {
  close();
  // A forked child has no such threads, and its locks are in an unknown state: touch nothing.
  if (state_->process != ::getpid()) static_cast<void>(state_.release());
}

void EpochRun::close() {
  if (state_->process == ::getpid()) state_->stop();
}

void EpochRun::throw_closed() {
  throw Error(ErrorKind::kUsage,
              "this epoch was ended before its last batch: its loader began or selected another "
              "one, by iter(), set_epoch() or load_state_dict(); a loader runs one epoch at a "
              "time");
}

EpochRun::Status EpochRun::next(int milliseconds, std::shared_ptr<BatchMemory>* batch) {
  if (state_->process != ::getpid()) {
    throw Error(ErrorKind::kUsage,
                "this epoch was started in another process; call iter(loader) after the fork");
  }
  return state_->next(milliseconds, batch);
}

std::shared_ptr<const EpochMeter> EpochRun::meter() const { return state_->meter; }

}  // namespace gluon_resnet
