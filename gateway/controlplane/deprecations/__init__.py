"""What retires: announcements, who still calls, and the end itself."""
