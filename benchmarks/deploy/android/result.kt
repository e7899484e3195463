package androidx.activity.result

import androidx.activity.result.contract.ActivityResultContracts

class ActivityResultLauncher<I> { fun launch(input: I): Unit = TODO() }

class PickVisualMediaRequest

fun PickVisualMediaRequest(type: ActivityResultContracts.PickVisualMedia.VisualMediaType): PickVisualMediaRequest = TODO()
