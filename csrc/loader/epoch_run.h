// A running epoch: workers that make rows, and a consumer that takes batches in order.
#ifndef GLUON_RESNET_EPOCH_RUN_H_
#define GLUON_RESNET_EPOCH_RUN_H_

#include <cstdint>
#include <memory>

#include "loader/batch.h"
#include "loader/epoch_meter.h"
#include "loader/row_maker.h"

namespace gluon_resnet {

// The destructor stops and joins the workers, however far they are. All members may be called by
// any thread, as long as none calls the destructor; only one consumer at a time gets batches, and
// any other use throws Error(kUsage).
class EpochRun {
 public:
  // Starts the workers on batch `first_batch` of an epoch and every `step`-th batch after it.
  EpochRun(std::shared_ptr<const RowSource> source, std::shared_ptr<BatchPool> pool, uint64_t epoch,
           uint64_t first_batch, uint64_t step);
  ~EpochRun();
  EpochRun(const EpochRun&) = delete;
  EpochRun& operator=(const EpochRun&) = delete;

  enum class Status { kBatch, kEnd, kNotYet };

  // Waits up to `milliseconds` for the next batch. If that batch has bad records, throws the error
  // of the one in the first row; the next call then returns the batch after it. Throws if another
  // thread is in here, and if close() was called before the end.
  Status next(int milliseconds, std::shared_ptr<BatchMemory>* batch);

  // Stops and joins the workers, and ends a waiting next().
  void close();
  [[noreturn]] static void throw_closed();

  // Outlives the run.
  std::shared_ptr<const EpochMeter> meter() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_EPOCH_RUN_H_
