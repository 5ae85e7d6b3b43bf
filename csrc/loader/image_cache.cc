#include "loader/image_cache.h"

#include <sys/mman.h>

#include <cstring>

#include "base/error.h"

namespace gluon_resnet {
namespace {

constexpr size_t kChannels = 3;

uint64_t round_up(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

}  // namespace

ImageCache::ImageCache(uint64_t records, size_t label_width, size_t bytes)
    : labels_bytes_(round_up(label_width * sizeof(float), 16)),
      end_(round_up(records * sizeof(Slot), kAlignment) + bytes),
      used_(round_up(records * sizeof(Slot), kAlignment)) {
  static_assert(sizeof(Slot) == 8 && Slot::is_always_lock_free, "slots are made of zeroed memory");
  void* const memory = ::mmap(nullptr, end_, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    throw_system_error("cache_size", concat("cannot reserve ", end_ >> 20, " MiB of addresses"));
  }
  memory_ = static_cast<uint8_t*>(memory);
  // Shuffled small images are all over it, and large pages mean fewer TLB misses. May be refused.
  static_cast<void>(::madvise(memory, end_, MADV_HUGEPAGE));
}

ImageCache::~ImageCache() { ::munmap(memory_, end_); }

uint64_t ImageCache::entry_bytes(ImageSize size) const {
  const uint64_t pixels = kChannels * static_cast<uint64_t>(size.width) * size.height;
  return round_up(sizeof(Header) + labels_bytes_ + pixels + Image::kSlack, kAlignment);
}

void ImageCache::prefetch(uint64_t record) const {
  constexpr uint64_t kLine = 64;
  constexpr uint64_t kFirst = 8 * kLine;  // the processor prefetches what follows by itself
  const uint64_t at = slot(record).load(std::memory_order_relaxed);
  if (at <= kBeingWritten) return;
  const uint8_t* const entry = memory_ + at;
  for (uint64_t line = 0; line < kFirst; line += kLine) __builtin_prefetch(entry + line);
}

bool ImageCache::find(uint64_t record, Kept* kept) const {
  const uint64_t at = slot(record).load(std::memory_order_acquire);
  if (at <= kBeingWritten) return false;
  const auto* const header = reinterpret_cast<const Header*>(memory_ + at);
  const uint8_t* const labels = memory_ + at + sizeof(Header);
  kept->image = {header->width, header->height, kChannels, labels + labels_bytes_};
  kept->id = header->id;
  kept->labels = reinterpret_cast<const float*>(labels);
  return true;
}

bool ImageCache::wants(uint64_t record, ImageSize size) const {
  return entry_bytes(size) <= end_ - used_.load(std::memory_order_relaxed) &&
         slot(record).load(std::memory_order_relaxed) == kUnknown;
}

void ImageCache::put(uint64_t record, const Record& read, const ImageView& image) {
  uint64_t state = kUnknown;
  if (!slot(record).compare_exchange_strong(state, kBeingWritten)) return;
  const uint64_t bytes = entry_bytes({image.width, image.height});
  uint64_t at = used_.load(std::memory_order_relaxed);
  do {
    if (bytes > end_ - at) {
      slot(record).store(kUnknown, std::memory_order_relaxed);
      return;
    }
  } while (!used_.compare_exchange_weak(at, at + bytes, std::memory_order_relaxed));
  const Header header{image.width, image.height, read.id};
  uint8_t* const labels = memory_ + at + sizeof(Header);
  std::memcpy(memory_ + at, &header, sizeof(header));
  std::memcpy(labels, read.labels, read.num_labels * sizeof(float));
  std::memcpy(labels + labels_bytes_, image.pixels, image.row_bytes() * image.height);
  slot(record).store(at, std::memory_order_release);
  size_.fetch_add(1, std::memory_order_relaxed);
}

void ImageCache::refuse(uint64_t record) {
  uint64_t state = kUnknown;
  slot(record).compare_exchange_strong(state, kRefused);
}

}  // namespace gluon_resnet
