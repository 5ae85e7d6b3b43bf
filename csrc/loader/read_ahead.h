// Makes the system fetch records before they are read, if storage is slow.
#ifndef GLUON_RESNET_READ_AHEAD_H_
#define GLUON_RESNET_READ_AHEAD_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "loader/epoch_meter.h"
#include "loader/order.h"
#include "loader/row_maker.h"

namespace gluon_resnet {

// Serves one epoch. Asking for records that are already in memory costs time, too, about as much as
// reading a small one. So reading ahead is paid for with time that slow reads have lost: nothing is
// asked for if all records come from memory. Any thread may call all members, without locks.
class ReadAhead {
 public:
  ReadAhead(const RowSource& source, const BatchOrder& order);

  // Reports time that reads took beyond that of reading from memory.
  void lost(Clock::duration time);

  // To be called when work on a batch begins: asks for later batches' records, as credit allows.
  void begin(uint64_t batch);

 private:
  void fetch(uint64_t batch) const;

  const RowSource& source_;
  const BatchOrder& order_;
  const uint64_t distance_;           // in batches
  std::atomic<int64_t> credit_;       // records that may be asked for; at first, one full distance
  std::atomic<uint64_t> fetched_{0};  // the batches before it have been asked for, or have begun
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_READ_AHEAD_H_
