// Lets the system fetch records before they are read, where storage is slow.
#ifndef GLUON_RESNET_READ_AHEAD_H_
#define GLUON_RESNET_READ_AHEAD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "loader/epoch_meter.h"
#include "loader/order.h"
#include "loader/row_maker.h"

namespace gluon_resnet {

// Of one epoch. To ask for records that are in memory already costs time, too, about as much as to
// read a small one. So reading ahead is paid for with time that slow reads have lost: none is
// asked for where all come from memory. All members may be called by any thread, without locks.
class ReadAhead {
 public:
  ReadAhead(const RowSource& source, const BatchOrder& order);

  // Time that reads took beyond what a read from memory does.
  void lost(Clock::duration time);

  // Work on a batch begins: asks for the records of the following ones, as far as time was lost.
  void begin(uint64_t batch);

 private:
  void fetch(uint64_t batch) const;

  const RowSource& source_;
  const BatchOrder& order_;
  const uint64_t distance_;      // in batches
  std::atomic<int64_t> credit_;  // records that may be asked for; at first, once as far as it goes
  std::atomic<uint64_t> fetched_{
      0};  // the batches before this one have been asked for, or have begun
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_READ_AHEAD_H_
