#include "records/record_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "base/error.h"

namespace gluon_resnet {
namespace {

// An empty file opened for writing, or null with errno: the target of a symbolic link is never
// written to.
std::FILE* create(const std::string& path) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW;
  const int descriptor = ::open(path.c_str(), kFlags, 0666);
  if (descriptor < 0) return nullptr;
  std::FILE* const file = ::fdopen(descriptor, "wb");
  if (file == nullptr) ::close(descriptor);
  return file;
}

}  // namespace

RecordWriter::RecordWriter(const std::string& path, const std::string& index_path)
    : path_(path), index_path_(index_path) {
  file_ = create(path);
  if (file_ == nullptr) throw_system_error(path, "cannot write");
  index_ = create(index_path);
  if (index_ == nullptr) {
    const int code = errno;
    std::fclose(file_);
    errno = code;
    throw_system_error(index_path, "cannot write");
  }
  std::setvbuf(file_, nullptr, _IOFBF, 1 << 20);
}

RecordWriter::~RecordWriter() {
  if (file_ != nullptr) std::fclose(file_);
  if (index_ != nullptr) std::fclose(index_);
}

void RecordWriter::put(const void* data, size_t size) {
  if (size > 0 && std::fwrite(data, 1, size, file_) != size) {
    throw_system_error(path_, "cannot write");
  }
  offset_ += size;
}

void RecordWriter::put_part(uint32_t cflag, const uint8_t* data, size_t size) {
  const uint32_t header[2] = {kRecordMagic, cflag << 29 | static_cast<uint32_t>(size)};
  put(header, sizeof(header));
  put(data, size);
  const uint32_t zeros = 0;
  put(&zeros, (4 - size % 4) % 4);
}

void RecordWriter::write(int64_t key, const float* labels, size_t num_labels, uint64_t id,
                         const uint8_t* payload, size_t payload_size) {
  const bool listed = num_labels != 1;
  const size_t size = kImageHeader + (listed ? 4 * num_labels : 0) + payload_size;
  if (size > kMaxPartLength) {
    throw Error(ErrorKind::kUsage, concat(path_, ": the record with key ", key, " has ", size,
                                          " bytes; the format allows ", kMaxPartLength));
  }
  scratch_.assign(kImageHeader, 0);
  const uint32_t flag = listed ? static_cast<uint32_t>(num_labels) : 0;
  std::memcpy(scratch_.data(), &flag, 4);
  if (!listed) std::memcpy(scratch_.data() + 4, labels, 4);
  std::memcpy(scratch_.data() + 8, &id, 8);
  if (listed) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(labels);
    scratch_.insert(scratch_.end(), bytes, bytes + 4 * num_labels);
  }
  scratch_.insert(scratch_.end(), payload, payload + payload_size);

  if (std::fprintf(index_, "%lld\t%llu\n", static_cast<long long>(key),
                   static_cast<unsigned long long>(offset_)) < 0) {
    throw_system_error(index_path_, "cannot write");
  }
  // Split at every aligned magic, so that a reader can find the next record from anywhere.
  size_t start = 0;
  for (size_t at = 0; at + 4 <= size; at += 4) {
    if (std::memcmp(scratch_.data() + at, &kRecordMagic, 4) != 0) continue;
    put_part(start == 0 ? 1 : 2, scratch_.data() + start, at - start);
    start = at + 4;
  }
  put_part(start == 0 ? 0 : 3, scratch_.data() + start, size - start);
}

void RecordWriter::close() {
  const auto finish = [](std::FILE** file, const std::string& path) {
    const bool flushed = std::fflush(*file) == 0 && ::fsync(::fileno(*file)) == 0;
    const int code = errno;
    std::FILE* const closing = *file;
    *file = nullptr;
    if (std::fclose(closing) != 0 || !flushed) {
      if (!flushed) errno = code;
      throw_system_error(path, "cannot write");
    }
  };
  finish(&file_, path_);
  finish(&index_, index_path_);
}

void write_index(const RecordFile& file, const std::string& index_path) {
  const auto closer = [](std::FILE* index) { std::fclose(index); };
  std::unique_ptr<std::FILE, decltype(closer)> index(create(index_path), closer);
  if (!index) throw_system_error(index_path, "cannot write");
  for (size_t i = 0; i < file.size(); ++i) {
    std::fprintf(index.get(), "%lld\t%llu\n", static_cast<long long>(file.key(i)),
                 static_cast<unsigned long long>(file.offset(i)));
  }
  if (std::fflush(index.get()) != 0 || std::ferror(index.get())) {
    throw_system_error(index_path, "cannot write");
  }
}

}  // namespace gluon_resnet
