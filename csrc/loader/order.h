// Which record is in which row of which batch, for any rank, without a list of records.
#ifndef GLUON_RESNET_ORDER_H_
#define GLUON_RESNET_ORDER_H_

#include <algorithm>
#include <cstdint>

#include "base/random.h"

namespace gluon_resnet {

enum class LastBatch {
  kPad,      // the last batch has full size; rows after its records repeat others
  kDiscard,  // records that do not fill a batch are left out of this epoch
  kKeep      // the last batch is shorter
};

// One epoch's order: all records, shuffled or not, divided into global batches of batch_size *
// world_size; rank r takes the r-th part of each. The last global batch is divided evenly, so that
// every rank has the same number of batches and every record is in exactly one of them.
class BatchOrder {
 public:
  struct Sizes {
    uint64_t records;
    uint64_t batch;
    uint64_t rank;
    uint64_t world;
  };

  BatchOrder(const Sizes& sizes, LastBatch last, bool shuffle, uint64_t seed, uint64_t epoch)
      : sizes_(sizes),
        last_(last),
        shuffle_(shuffle),
        permutation_(sizes.records, seed, epoch),
        full_(sizes.records / (sizes.batch * sizes.world)) {
    const uint64_t rest = sizes.records - full_ * sizes.batch * sizes.world;
    const uint64_t extra = rest % sizes.world;
    rest_ = rest / sizes.world + (sizes.rank < extra ? 1 : 0);
    rest_start_ =
        sizes.records - rest + sizes.rank * (rest / sizes.world) + std::min(sizes.rank, extra);
    batches_ = full_ + (rest > 0 && last != LastBatch::kDiscard ? 1 : 0);
  }

  // The same order, but only every `step`-th batch from batch `first` on.
  BatchOrder every(uint64_t step, uint64_t first) const {
    BatchOrder part = *this;
    part.step_ = step;
    part.first_ = first;
    part.batches_ = first < batches_ ? (batches_ - first + step - 1) / step : 0;
    return part;
  }

  uint64_t num_batches() const { return batches_; }
  // The number of rows with a record of their own; the rows after them are padding.
  uint64_t real_rows(uint64_t batch) const { return number(batch) < full_ ? sizes_.batch : rest_; }
  uint64_t rows(uint64_t batch) const {
    return last_ == LastBatch::kKeep ? real_rows(batch) : sizes_.batch;
  }

  uint64_t record(uint64_t batch, uint64_t row) const {
    uint64_t position = (number(batch) * sizes_.world + sizes_.rank) * sizes_.batch + row;
    if (number(batch) >= full_)
      position = row < rest_ ? rest_start_ + row : position % sizes_.records;
    return shuffle_ ? permutation_(position) : position;
  }

 private:
  // The number of one of our batches in the whole order.
  uint64_t number(uint64_t batch) const { return first_ + batch * step_; }

  Sizes sizes_;
  LastBatch last_;
  bool shuffle_;
  Permutation permutation_;
  uint64_t full_;  // global batches without padding
  uint64_t rest_ = 0;
  uint64_t rest_start_ = 0;
  uint64_t batches_ = 0;
  uint64_t step_ = 1;
  uint64_t first_ = 0;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_ORDER_H_
