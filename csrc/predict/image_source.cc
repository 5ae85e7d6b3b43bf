#include "predict/image_source.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

namespace gluon_resnet {
namespace {

namespace fs = std::filesystem;

bool ends_in(const std::string& text, const std::string& ending) {
  return text.size() >= ending.size() &&
         text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
}

bool is_image_name(std::string name) {
  // Not std::tolower, which depends on the locale.
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return ends_in(name, ".jpg") || ends_in(name, ".jpeg") || ends_in(name, ".png");
}

std::shared_ptr<const RecordFile> open_records(const std::string& path) {
  std::string index = path.substr(0, path.size() - 4) + ".idx";
  if (::access(index.c_str(), F_OK) != 0) index.clear();  // the file is scanned
  return std::make_shared<RecordFile>(path, index);
}

}  // namespace

std::string reason(const Error& error) {
  if (error.system_code != 0) return std::strerror(error.system_code);
  return error.reason();
}

ImageSource::ImageSource(std::vector<std::string> names, bool standard_input)
    : names_(std::make_move_iterator(names.begin()), std::make_move_iterator(names.end())),
      standard_input_(standard_input),
      lines_(STDIN_FILENO) {}

bool ImageSource::next(ImageName* image, const std::function<void(bool)>& paused) {
  for (;;) {
    if (!found_.empty()) {
      *image = std::move(found_.front());
      found_.pop_front();
      return true;
    }
    if (records_ && next_record_ < records_->num_images()) {
      const size_t record = records_->image(next_record_++);
      *image = {concat(records_->path(), ":", records_->key(record)), records_, record, ""};
      return true;
    }
    records_.reset();
    if (!names_.empty()) {
      const std::string name = std::move(names_.front());
      names_.pop_front();
      open(name);
      continue;
    }
    std::string line;
    if (!standard_input_ || !lines_.next(&line, paused)) return false;
    if (!line.empty()) open(line);
  }
}

void ImageSource::open(const std::string& name) {
  std::error_code ignored;  // unreadable files are reported when they are read
  if (name.find('\0') != std::string::npos) {
    found_.push_back({name, nullptr, 0, std::strerror(ENOENT)});
  } else if (fs::is_directory(name, ignored)) {
    open_folder(name);
  } else if (ends_in(name, ".rec")) {
    try {
      records_ = open_records(name);
      next_record_ = 0;
    } catch (const Error& error) {
      found_.push_back({name, nullptr, 0, reason(error)});
    }
  } else {
    found_.push_back({name, nullptr, 0, ""});
  }
}

// Links to folders are not followed, because they may form cycles.
void ImageSource::open_folder(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> folders{folder};
  while (!folders.empty()) {
    const std::string current = std::move(folders.back());
    folders.pop_back();
    for (fs::directory_iterator entry(current, error), end; !error && entry != end;
         entry.increment(error)) {
      const std::string path = entry->path().string();
      std::error_code gone;
      if (entry->symlink_status(gone).type() == fs::file_type::directory) {
        folders.push_back(path);
      } else if (is_image_name(path) && !entry->is_directory(gone)) {
        found_.push_back({path, nullptr, 0, ""});
      }
    }
    if (error) found_.push_back({current, nullptr, 0, error.message()});
  }
  if (found_.empty()) {
    const char* const nothing = "there are no images (.jpg, .jpeg, .png) in this folder";
    found_.push_back({folder, nullptr, 0, nothing});
  }
  std::sort(found_.begin(), found_.end(),
            [](const ImageName& a, const ImageName& b) { return a.name < b.name; });
}

}  // namespace gluon_resnet
