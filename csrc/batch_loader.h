// Reads, decodes and augments records in worker threads, and hands out batches in order.
#ifndef GLUON_RESNET_BATCH_LOADER_H_
#define GLUON_RESNET_BATCH_LOADER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "augment.h"
#include "batch.h"
#include "decoder.h"
#include "order.h"
#include "record_file.h"

namespace gluon_resnet {

struct LoaderOptions {
  size_t batch_size = 1;
  TransformPlan plan;
  bool shuffle = false;
  uint64_t seed = 0;
  size_t threads = 1;
  size_t rank = 0;
  size_t world_size = 1;
  LastBatch last_batch = LastBatch::kPad;
  DType dtype = DType::kFloat32;
  Layout layout = Layout::kNchw;
  DecodeOptions decode;
  bool skip_errors = false;
  size_t prefetch = 3;  // batches that are worked on or wait, ahead of the consumer
};

struct SkippedRecord {
  uint64_t epoch;
  std::string path;
  int64_t key;
  std::string reason;
};

class EpochRun;

// Several record files as one sequence of records, and what is to be made of them. Does no work
// itself: start() does. Used by one thread at a time.
class BatchLoader {
 public:
  // Reads one record, to learn how many labels each has.
  BatchLoader(std::vector<std::shared_ptr<RecordFile>> files, const LoaderOptions& options);
  ~BatchLoader();

  uint64_t num_records() const;
  uint64_t num_batches() const;  // an epoch, for this rank
  size_t label_width() const;
  uint64_t fingerprint() const;  // of all records; reads some of them

  // Starts the workers on batches `first_batch` and following of an epoch.
  std::unique_ptr<EpochRun> start(uint64_t epoch, uint64_t first_batch);

  // The records left out so far, by this process, where skip_errors is set.
  std::vector<SkippedRecord> skipped();

 private:
  friend class EpochRun;
  void leave_parent_process();
  struct Shared;  // outlives this object while a run needs it
  std::shared_ptr<Shared> shared_;
};

// An epoch under way. The destructor stops and joins the workers, however far they are.
class EpochRun {
 public:
  ~EpochRun();
  EpochRun(const EpochRun&) = delete;
  EpochRun& operator=(const EpochRun&) = delete;

  enum class Status { kBatch, kEnd, kNotYet };

  // Waits up to `milliseconds` for the next batch. A bad record of that batch is thrown, the one of
  // the first row where there are several; the call after that gives the batch after it.
  Status next(int milliseconds, std::shared_ptr<BatchMemory>* batch);

 private:
  friend class BatchLoader;
  struct State;
  explicit EpochRun(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_BATCH_LOADER_H_
