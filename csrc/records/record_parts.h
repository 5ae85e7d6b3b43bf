// The parts of a .rec file, read one after the other.
#ifndef GLUON_RESNET_RECORD_PARTS_H_
#define GLUON_RESNET_RECORD_PARTS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "records/record_bytes.h"

namespace gluon_resnet {

// Reads forward through a file: small reads that are close together are served from one large read.
// Used by one thread.
class PartReader {
 public:
  explicit PartReader(const RecordBytes& bytes) : bytes_(bytes) {}

  struct Part {
    uint64_t data;  // the offset of its bytes in the file
    uint64_t length;
    uint64_t end;  // of its padding
    bool last;     // of its record
  };

  // The part at `offset`, which must be the first of its record or a later one. Throws if there is
  // none, or if it does not end inside the file.
  Part part(uint64_t offset, bool first);

  void read(uint64_t offset, uint8_t* out, size_t size);

 private:
  const RecordBytes& bytes_;
  std::vector<uint8_t> block_;  // the file's bytes from start_ on
  uint64_t start_ = 0;
};

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_RECORD_PARTS_H_
