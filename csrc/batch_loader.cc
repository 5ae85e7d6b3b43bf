#include "batch_loader.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <thread>
#include <utility>

#include "error.h"
#include "image_pipeline.h"

namespace gluon_resnet {

struct BatchLoader::Shared {
  Shared(std::vector<std::shared_ptr<RecordFile>> files, const LoaderOptions& options)
      : files(std::move(files)), options(options) {
    for (const auto& file : this->files) {
      starts.push_back(num_records);
      num_records += file->num_images();
    }
    label_width = find_label_width();
    pool = make_pool();
  }

  struct Place {
    const RecordFile* file;
    size_t index;
  };
  Place place(uint64_t record) const {
    const auto after = std::upper_bound(starts.begin(), starts.end(), record);
    const auto file = static_cast<size_t>(after - starts.begin()) - 1;
    return {files[file].get(), files[file]->image(static_cast<size_t>(record - starts[file]))};
  }

  size_t find_label_width() const {
    RecordBuffer buffer;
    for (uint64_t record = 0;; ++record) {
      const Place at = place(record);
      try {
        return at.file->read(at.index, &buffer).num_labels;
      } catch (const Error&) {
        if (!options.skip_errors || record + 1 == num_records) throw;
      }
    }
  }

  size_t row_bytes() const {
    const auto size = static_cast<size_t>(options.plan.size);
    return 3 * size * size * element_size(options.dtype);
  }

  std::shared_ptr<BatchPool> make_pool() const {
    // One more than are under way: the one that the consumer has.
    return std::make_shared<BatchPool>(options.batch_size, row_bytes(), label_width,
                                       options.prefetch + 1);
  }

  BatchOrder order(uint64_t epoch) const {
    return {{num_records, options.batch_size, options.rank, options.world_size},
            options.last_batch,
            options.shuffle,
            options.seed,
            epoch};
  }

  const std::vector<std::shared_ptr<RecordFile>> files;
  const LoaderOptions options;
  std::vector<uint64_t> starts;  // of each file, in records
  uint64_t num_records = 0;
  size_t label_width = 1;
  std::shared_ptr<BatchPool> pool;

  std::mutex mutex;
  std::vector<SkippedRecord> skipped;  // guarded by mutex
};

namespace {

// What a worker owns, and allocates once.
struct Workbench {
  explicit Workbench(const DecodeOptions& options) : pipeline(options) {}

  RecordBuffer record;
  ImagePipeline pipeline;
};

}  // namespace

struct EpochRun::State {
  State(std::shared_ptr<BatchLoader::Shared> loader, uint64_t epoch, uint64_t first_batch)
      : shared(std::move(loader)),
        options(shared->options),
        epoch(epoch),
        order(shared->order(epoch)),
        taken(first_batch),
        open(first_batch),
        jobs(options.prefetch),
        chunk(std::clamp<uint64_t>(options.batch_size / (options.threads * 4), 1, 16)),
        process(::getpid()) {
    workers.reserve(options.threads);
    try {
      for (size_t i = 0; i < options.threads; ++i) workers.emplace_back([this] { work(); });
    } catch (...) {
      stop();
      throw;
    }
  }

  // A batch under way.
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

  void stop() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      cancelled = true;
    }
    work_to_do.notify_all();
    for (std::thread& worker : workers) worker.join();
    workers.clear();
  }

  void work() {
    Workbench bench(options.decode);
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
      work_to_do.wait(lock, [this] { return cancelled || open == end || may_open(); });
      if (cancelled || open == end) return;
      const uint64_t batch = open;
      Job& current = job(batch);
      try {
        if (!current.memory) begin(batch, &current);
        const uint64_t row = current.next_row;
        const uint64_t stop_row = std::min(row + chunk, current.rows);
        current.next_row = stop_row;
        if (stop_row == current.rows) {
          ++open;
          work_to_do.notify_all();
        }
        lock.unlock();
        for (uint64_t at = row; at < stop_row; ++at) make_row(batch, at, &current, &bench);
        lock.lock();
        current.left -= stop_row - row;
      } catch (...) {  // no memory for a batch: the consumer hears of it, and that is the end
        if (!lock.owns_lock()) lock.lock();
        failure = std::current_exception();
        cancelled = true;
        work_to_do.notify_all();
        batch_ready.notify_all();
        return;
      }
      if (current.left == 0) {
        finish(batch, &current);
        batch_ready.notify_all();
      }
    }
  }

  bool may_open() { return open < taken + jobs.size(); }

  void begin(uint64_t batch, Job* current) {
    current->memory = shared->pool->take();
    current->rows = order.rows(batch);
    current->next_row = 0;
    current->left = current->rows;
    current->ready = false;
    current->bad_rows.clear();
    current->error = nullptr;
    current->memory->rows = current->rows;
    current->memory->pad = current->rows - order.real_rows(batch);
  }

  void make_row(uint64_t batch, uint64_t row, Job* current, Workbench* bench) {
    const uint64_t number = order.record(batch, row);
    const BatchLoader::Shared::Place at = shared->place(number);
    try {
      make_row_of(number, at, row, current->memory.get(), bench);
    } catch (Error& error) {
      const int64_t key = at.file->key(at.index);
      const uint64_t offset = at.file->offset(at.index);
      error.key = key;
      std::string reason = error.what();
      if (error.kind == ErrorKind::kImage) {
        reason =
            concat(at.file->path(), ": record with key ", key, " at offset ", offset, ": ", reason);
      }
      Error full(error.kind, reason, at.file->path(), static_cast<int64_t>(offset));
      full.key = key;
      full.system_code = error.system_code;
      const std::lock_guard<std::mutex> lock(mutex);
      if (options.skip_errors && full.kind != ErrorKind::kSystem) {
        current->bad_rows.push_back(row);
        if (row < order.real_rows(batch)) {
          const std::lock_guard<std::mutex> skip_lock(shared->mutex);
          shared->skipped.push_back({epoch, at.file->path(), key, reason});
        }
      } else if (!current->error || row < current->error_row) {
        current->error = std::make_exception_ptr(full);
        current->error_row = row;
      }
    }
  }

  void make_row_of(uint64_t number, const BatchLoader::Shared::Place& at, uint64_t row,
                   BatchMemory* memory, Workbench* bench) {
    const Record record = at.file->read(at.index, &bench->record);
    if (record.num_labels != memory->label_width) {
      throw Error(ErrorKind::kRecord,
                  concat(at.file->path(), ": at offset ", at.file->offset(at.index), ": expected ",
                         memory->label_width, " labels, as the first record has, found ",
                         record.num_labels));
    }
    std::copy_n(record.labels, record.num_labels, &memory->labels[row * memory->label_width]);
    memory->ids[row] = record.id;

    Random random(options.seed, epoch, number);
    bench->pipeline.run(options.plan, record.payload, record.payload_size, &random, options.dtype,
                        options.layout, memory->data.get() + row * memory->row_bytes);
  }

  // All rows are done. Where records were skipped, the others move up and the rows that get free at
  // the end become padding.
  void finish(uint64_t batch, Job* current) {
    current->ready = true;
    if (current->bad_rows.empty()) return;
    BatchMemory& memory = *current->memory;
    std::vector<bool> bad(current->rows, false);
    for (const uint64_t row : current->bad_rows) bad[row] = true;
    uint64_t good = 0;
    for (uint64_t row = 0; row < order.real_rows(batch); ++row) {
      if (!bad[row]) copy_row(&memory, row, good++);
    }
    if (options.last_batch == LastBatch::kKeep) {
      memory.rows = good;
      return;
    }
    memory.pad = memory.rows - good;
    for (uint64_t row = good; row < memory.rows; ++row) {
      if (good > 0) {
        copy_row(&memory, row % good, row);
      } else {  // nothing to repeat
        std::memset(memory.data.get() + row * memory.row_bytes, 0, memory.row_bytes);
        std::fill_n(&memory.labels[row * memory.label_width], memory.label_width, 0.0f);
      }
    }
  }

  static void copy_row(BatchMemory* memory, uint64_t from, uint64_t to) {
    if (from == to) return;
    uint8_t* const data = memory->data.get();
    std::memcpy(data + to * memory->row_bytes, data + from * memory->row_bytes, memory->row_bytes);
    const size_t width = memory->label_width;
    std::copy_n(&memory->labels[from * width], width, &memory->labels[to * width]);
    memory->ids[to] = memory->ids[from];
  }

  const std::shared_ptr<BatchLoader::Shared> shared;
  const LoaderOptions& options;
  const uint64_t epoch;
  const BatchOrder order;
  const uint64_t end = order.num_batches();

  std::mutex mutex;  // guards what follows
  std::condition_variable work_to_do;
  std::condition_variable batch_ready;
  bool cancelled = false;
  std::exception_ptr failure;
  uint64_t taken;  // batches before this one have been handed out
  uint64_t open;   // the batch whose rows are being given to workers
  std::vector<Job> jobs;

  const uint64_t chunk;  // rows that a worker takes at once
  const pid_t process;
  std::vector<std::thread> workers;
};

BatchLoader::BatchLoader(std::vector<std::shared_ptr<RecordFile>> files,
                         const LoaderOptions& options)
    : shared_(std::make_shared<Shared>(std::move(files), options)) {}

BatchLoader::~BatchLoader() = default;

uint64_t BatchLoader::num_records() const { return shared_->num_records; }
uint64_t BatchLoader::num_batches() const { return shared_->order(0).num_batches(); }
size_t BatchLoader::label_width() const { return shared_->label_width; }

uint64_t BatchLoader::fingerprint() const {
  uint64_t hash = 0;
  for (const auto& file : shared_->files) hash = mix((hash ^ file->fingerprint()) + kGolden);
  return hash;
}

std::unique_ptr<EpochRun> BatchLoader::start(uint64_t epoch, uint64_t first_batch) {
  leave_parent_process();
  auto state = std::make_unique<EpochRun::State>(shared_, epoch, first_batch);
  return std::unique_ptr<EpochRun>(new EpochRun(std::move(state)));
}

// A forked child's copy of a lock may be locked for ever.
void BatchLoader::leave_parent_process() {
  if (shared_->pool->in_own_process()) return;
  shared_ = std::make_shared<Shared>(shared_->files, shared_->options);
}

std::vector<SkippedRecord> BatchLoader::skipped() {
  leave_parent_process();
  const std::lock_guard<std::mutex> lock(shared_->mutex);
  return shared_->skipped;
}

EpochRun::EpochRun(std::unique_ptr<State> state) : state_(std::move(state)) {}

EpochRun::~EpochRun() {
  if (state_->process == ::getpid()) {
    state_->stop();
  } else {
    // A forked child has no such threads, and locks in whatever state they were: touch nothing.
    static_cast<void>(state_.release());
  }
}

EpochRun::Status EpochRun::next(int milliseconds, std::shared_ptr<BatchMemory>* batch) {
  State& state = *state_;
  if (state.process != ::getpid()) {
    throw Error(ErrorKind::kUsage,
                "this epoch was started in another process; call iter(loader) after the fork");
  }
  std::unique_lock<std::mutex> lock(state.mutex);
  if (state.taken == state.end) return Status::kEnd;
  State::Job& job = state.job(state.taken);
  const bool done = state.batch_ready.wait_for(lock, std::chrono::milliseconds(milliseconds), [&] {
    return (job.memory && job.ready) || state.failure;
  });
  if (!done) return Status::kNotYet;
  if (!(job.memory && job.ready)) std::rethrow_exception(state.failure);
  std::shared_ptr<BatchMemory> memory = std::move(job.memory);
  job.memory = nullptr;
  job.ready = false;
  const std::exception_ptr error = std::exchange(job.error, nullptr);
  ++state.taken;
  state.work_to_do.notify_all();
  lock.unlock();
  if (error) std::rethrow_exception(error);
  *batch = std::move(memory);
  return Status::kBatch;
}

}  // namespace gluon_resnet
