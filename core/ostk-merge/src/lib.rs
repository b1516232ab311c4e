//! Three-way merge, targeted edits, line history: pure functions over file versions.
