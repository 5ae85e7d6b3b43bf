// Writes the files that record_file.h reads.
#ifndef GLUON_RESNET_RECORD_WRITER_H_
#define GLUON_RESNET_RECORD_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "records/record_file.h"

namespace gluon_resnet {

// Writes a .rec and its .idx under the given names (the caller renames them once complete). Not
// thread-safe.
class RecordWriter {
 public:
  RecordWriter(const std::string& path, const std::string& index_path);
  ~RecordWriter();
  RecordWriter(const RecordWriter&) = delete;
  RecordWriter& operator=(const RecordWriter&) = delete;

  // One label: flag 0. Otherwise flag = num_labels.
  void write(int64_t key, const float* labels, size_t num_labels, uint64_t id,
             const uint8_t* payload, size_t payload_size);

  // Flushes both files to the disk and closes them. Without it they are incomplete.
  void close();

  uint64_t bytes_written() const { return offset_; }

 private:
  void put(const void* data, size_t size);
  void put_part(uint32_t cflag, const uint8_t* data, size_t size);

  std::string path_;
  std::string index_path_;
  std::FILE* file_ = nullptr;
  std::FILE* index_ = nullptr;
  uint64_t offset_ = 0;
  std::vector<uint8_t> scratch_;
};

// Writes an .idx for `file` to `index_path`: its keys and offsets in the order of the file.
void write_index(const RecordFile& file, const std::string& index_path);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_RECORD_WRITER_H_
