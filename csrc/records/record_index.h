// The positions of the records in a .rec file: read from an .idx, or found by scanning the file.
#ifndef GLUON_RESNET_RECORD_INDEX_H_
#define GLUON_RESNET_RECORD_INDEX_H_

#include <cstdint>
#include <string>
#include <vector>

#include "records/record_bytes.h"

namespace gluon_resnet {

struct IndexEntry {
  int64_t key;
  uint64_t offset;
  uint64_t extent;  // bytes to the next record in the file, or to its end
};

// The lines of an .idx, in their order. Throws if one cannot belong to this file.
std::vector<IndexEntry> load_index(const std::string& index_path, const RecordBytes& bytes);

// Scans from part to part. A record's key is its id if the ids are unique, or else its position.
std::vector<IndexEntry> scan_index(const RecordBytes& bytes);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_RECORD_INDEX_H_
