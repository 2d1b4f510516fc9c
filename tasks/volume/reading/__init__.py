"""Read what somebody points at: any selection of an array, the array that answers it fastest, places on the ground."""
