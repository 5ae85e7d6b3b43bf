// An epoch under way: workers that make rows, and a consumer who takes batches in order.
#ifndef GLUON_RESNET_EPOCH_RUN_H_
#define GLUON_RESNET_EPOCH_RUN_H_

#include <cstdint>
#include <memory>

#include "loader/batch.h"
#include "loader/epoch_meter.h"
#include "loader/row_maker.h"

namespace gluon_resnet {

// The destructor stops and joins the workers, however far they are. All members may be called by
// any thread, as long as none calls the destructor: one consumer at a time gets batches, and what
// does not fit throws Error(kUsage).
class EpochRun {
 public:
  // Starts the workers on batch `first_batch` of an epoch and every `step`-th one behind it.
  EpochRun(std::shared_ptr<const RowSource> source, std::shared_ptr<BatchPool> pool, uint64_t epoch,
           uint64_t first_batch, uint64_t step);
  ~EpochRun();
  EpochRun(const EpochRun&) = delete;
  EpochRun& operator=(const EpochRun&) = delete;

  enum class Status { kBatch, kEnd, kNotYet };

  // Waits up to `milliseconds` for the next batch. A bad record of that batch is thrown, the one of
  // the first row where there are several; the call after that gives the batch after it. Throws
  // where another thread is in here, and where close() came before the end.
  Status next(int milliseconds, std::shared_ptr<BatchMemory>* batch);

  // Stops and joins the workers, and ends a next() that waits.
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
